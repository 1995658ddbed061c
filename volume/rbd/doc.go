// Package rbd keeps images of volumes on a Ceph cluster, as RBD images of one of its pools. A pool's directory stays what it
// is, with a meta.json for every volume; where a file pool has data.img, a volume of format rbd has data.rbd, a small file that
// names its image (Ref). So listing volumes never asks the cluster, and volume/file does all that is done to directories:
// its Images is what a Store is for it.
//
// # What counts when
//
// A data.rbd is on disk before the image that it names is made, and goes after that image is gone. An image is named by the
// volume's id and a random word that is used once, so that to replace an image is to replace the file, which is one moment. What a crash
// leaves is then named by some file in a place that volume/file recovers; it removes the image with the file. An image that no
// file names has lost its directory: nobody but a person decides about it (see Store.Inventory).
//
// # Deleted images and clones
//
// A deleted volume's image waits in RBD's own trash while its directory is in the pool's bin. Clones are RBD clones of the second format: the
// snapshot that they are made from is removed at once, which hides it until its last clone is gone or flattened. An
// image that is purged while clones need it is parked in the trash under a name of its own (parkedPrefix), and removed when the last
// of them goes.
//
// # Locks
//
// A Device that may write holds the image's exclusive lock. Nobody takes it from it but by blocklisting this client, after which the
// Device fails every request: what was written since is not ours. The lock of a dead predecessor of this server, which is known by
// what it noted in the image, is broken when the volume is opened again; that of anybody else is respected.
//
// # Waiting
//
// librbd waits for ever for a cluster that is dead, unless it is told not to. A Store has two connections: one for work that
// somebody waits for, whose every call comes back within its timeouts, and one for the data of open Devices, where a request
// waits until the cluster is back. Only the latter's caller can say how long is too long: an initiator has its own patience.
//
// On a full cluster nobody waits: what wants room is refused, what gives some back is done.
//
// # No cache
//
// Nothing is cached, also where the settings of an image or a RADOS pool (rbd config) ask for a cache. A machine outlives this process:
// it has what was acknowledged written no second time, and its next flush would succeed over the hole that a kill left. Nobody would
// replay it, as volume/qemu does for its daemon. So what peers gain by such a cache is no measure here.
//
// # Many requests at once
//
// A request to an open image needs a goroutine and no thread: librbd completes it in a thread of its own, which puts it on a list and
// wakes, by an eventfd, the goroutine that tells those who wait (queue). The data is not copied on its way to librbd.
//
// # Building
//
// The cluster and its pool are reached through go-ceph, and open images by calls of our own, since go-ceph's block a thread each. Both
// need cgo, in files with the build tag ceph (and pacific, for the
// librbd 16.2 of Debian 12). The rest of the package is the same in every build; Open says what to do in a build without.
package rbd

package rbd

import "time"

// Driver is one RADOS pool as librbd sees it, as little of it as a Store needs. The errors have a syscall.Errno in their chain.
// Methods may be called at the same time, and each comes back within the timeouts that the Driver was made with.
type Driver interface {
	// FSID returns the cluster's id.
	FSID() string
	// Ping asks the pool for something small.
	Ping() error
	// Create makes an image of zeros.
	Create(name string, size int64) error
	// Clone makes an image that has the content of a snapshot.
	Clone(parent, snap, name string) error
	// Open opens an image, or with snap one of its snapshots.
	Open(name, snap string, readonly bool) (Handle, error)
	// OpenData opens an image on the connection for data, whose requests wait for the cluster.
	OpenData(name string, readonly bool) (Handle, error)
	// OpenTrashed opens an image that lies in the trash.
	OpenTrashed(id string) (Handle, error)
	// Rename gives an image another name.
	Rename(name, to string) error
	// Remove removes an image that has no snapshots.
	Remove(name string) error
	// Names lists the images that are not in the trash.
	Names() ([]string, error)
	// TrashMove moves an image into the trash.
	TrashMove(name string) error
	// TrashRestore moves an image back out of the trash, under a name.
	TrashRestore(id, name string) error
	// TrashRemove removes an image from the trash for good.
	TrashRemove(id string) error
	// Trashed lists what lies in the trash.
	Trashed() ([]Trashed, error)
	// Grant makes a user of the cluster with these capabilities on OSDs and those on monitors that librbd needs, or finds it, and
	// returns its key.
	Grant(user, osdCaps string) (key string, err error)
	// Revoke removes a user that Grant made. One that is not there is removed already.
	Revoke(user string) error
	// Monitors returns the addresses of the cluster's monitors, as ceph.conf's mon_host has them.
	Monitors() (string, error)
	// Close ends the connections. Handles that are open fail from then on.
	Close() error
}

// Trashed is an image in the trash.
type Trashed struct {
	ID   string
	Name string // when it was moved there
}

// Identity is what names the objects of an image.
type Identity struct {
	Name string
	ID   string
}

// Handle is an open image. Methods may be called at the same time, but for Close, which is the last.
type Handle interface {
	// Identity returns the image's name and id.
	Identity() (Identity, error)
	// Size returns the image's size in bytes.
	Size() (int64, error)
	// Resize changes it.
	Resize(size int64) error
	// ReadAt fills p, or fails.
	ReadAt(p []byte, off int64) error
	// WriteAt writes p, or fails.
	WriteAt(p []byte, off int64) error
	// WriteVectorAt writes the pieces, one behind the other, as one request, or fails.
	WriteVectorAt(pieces [][]byte, off int64) error
	// WriteZeroes makes a range read as zeros, with the storage for them.
	WriteZeroes(off, length int64) error
	// Discard makes a range read as zeros and gives back the storage of what it covers of objects.
	Discard(off, length int64) error
	// Flush returns once what was written is on stable storage.
	Flush() error
	// Extents calls fn for the parts of a range that have data, in order, until it returns false.
	Extents(off, length int64, fn func(off, length int64) bool) error
	// Modified returns when the image was last written to, to the cluster's precision.
	Modified() (time.Time, error)
	// Snap makes a snapshot.
	Snap(name string) error
	// Unsnap removes a snapshot. One that clones need is only hidden.
	Unsnap(name string) error
	// Snaps lists the snapshots that are not hidden.
	Snaps() ([]string, error)
	// Flatten copies what the image has from its parent, and tells how far it came, in units of its own.
	Flatten(progress func(done, total int64)) error
	// Parent returns the image that this one is a clone of, the zero Identity where it is none.
	Parent() (Identity, error)
	// Acquire takes the exclusive lock, which nobody gets from this handle but by Break.
	Acquire() error
	// Owner returns who has the exclusive lock, "" is nobody.
	Owner() (string, error)
	// Alive reports whether the owner still has the image open, or did so half a minute ago. The lock of one that is not goes to
	// whoever asks for it.
	Alive(owner string) (bool, error)
	// Shared reports whether anybody but the owner of the exclusive lock has the image open for writing.
	Shared(owner string) (bool, error)
	// Break takes the exclusive lock from its owner and blocklists it.
	Break(owner string) error
	// Note returns a note that SetNote left in the image, "" where there is none.
	Note(key string) (string, error)
	// SetNote leaves a note in the image.
	SetNote(key, value string) error
	// Close closes the image and gives up its lock.
	Close() error
}

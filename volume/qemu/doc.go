// Package qemu runs qemu-img and qemu-storage-daemon, and reads the headers of disk images without them. Nothing else
// in this program runs them.
//
// # Running
//
// A Tool makes, resizes, converts, compares and checks images. It never lets qemu-img guess a format: every call
// names it. Each call runs one process, which
//
//   - inherits the files that the caller names, such as the descriptor of a volume's lock, so that a flock on them
//     is free only when the process is gone too;
//   - is killed when the call's context ends, and dies with the server, however that dies;
//   - runs under limits: address space by the threads it may use, 30 s of processor time where it only looks
//     (Info, Check, Measure), and where it works (Create, Resize, Convert, Compare) it is killed after 60 s in which
//     neither its progress, nor its own input and output, nor its target moved;
//   - gets an environment of its own, and what it writes is read only up to a bound.
//
// A call returns after its process was reaped. A context that ended is returned as its cause. Otherwise the error
// is a fault: ImageToolMissing, PoolFull or PoolUnavailable for what the file system said, VolumeInUse where QEMU's
// own lock says that the image is open elsewhere, and else ImageToolFailed. Its sentence names files by their last
// element only; what qemu-img wrote is its cause. qemu-img has no other way to tell its errors apart than text,
// so this one package compares text (failure.go).
//
// The methods of a Tool may be called at the same time. Two calls must not work on one image at once: that is the
// caller's to see to, by the volume's lock.
//
// # Opening
//
// An Opener opens an image as a Device, through a storage daemon of its own: nobody writes qcow2 but QEMU. The daemon is
// told over QMP what to open, and whole sectors are read and written through a queue in memory that both share (vhost-user-blk):
// beside NBD that takes a fraction of the time. What the queue has no words for goes over NBD: flushes, discards, zeroes, what has
// storage, parts of sectors, and why a request failed; and so does what is made again after a daemon's end. Where QEMU was built
// without vhost-user-blk, or the system gives no shared memory, all goes over NBD, and more slowly. The sockets are
// inherited, or have a name for a moment in a directory that nobody else may enter: nobody else can connect to them. The daemon
//
//   - opens the image by its recorded format, with the base that the caller names and not the one that the image does;
//   - inherits the files that the caller names, as a Tool's processes do;
//   - gets SIGTERM when the server dies, however that dies: it writes what it holds in memory, and ends. It is never killed but
//     when it hangs, or answers over NBD what it leaves unanswered in its queue: that loses nothing as long as the server lives.
//     One whose storage is slow is waited for, however long;
//   - can change what is in the shared memory at any time, and no more than give wrong data by that;
//   - has few rights: no privileges to gain, none of root's capabilities but CAP_DAC_OVERRIDE, limits on memory and open
//     files, and, where the kernel has Landlock, no file but the image, its base, its socket, and what a program needs to run.
//
// What a daemon acknowledged and had not flushed is lost when it is killed, by whomever. The Device remembers it, starts
// another daemon, and makes it again; requests only see a pause (device.go). Under a service manager that sends
// SIGTERM to all processes of the service at once, the daemons end before the server has closed them, and are started
// again for a moment: let it signal the server alone (for systemd, KillMode=mixed).
//
// # Looking
//
// Detect, Inspect and Header are pure: they read through an io.ReaderAt, check every length before it is used and
// allocate no more than 1 MiB. Inspect is for images from outside and decides before qemu-img opens one: qemu-img
// follows every name in an image that it opens (backing files, data files, extents), and an image that names
// /etc/passwd would be given the content of /etc/passwd. So no image from outside may go to a Tool before
// Inspect let it pass, nor may it change in between: what others can write to is copied first.
package qemu

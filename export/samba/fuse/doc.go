// Package fuse shows files to other programs through the kernel's FUSE protocol (linux/fuse.h, version 7.31 or later): each
// file in a directory of its own, both of one user and closed to others, unless they are said to be public.
//
// A file is what a block device is: it has a size that no user of it changes, and no user makes, renames or removes anything. Opening it
// with O_TRUNC changes nothing, as with a block device, so truncating to nothing is answered as done and does nothing.
// Any other length than the file has is refused, and so is writing beyond its end.
//
// Nothing is cached by the kernel: what one user wrote, another reads. When Entry.Remove has returned nil, no request of
// anybody reaches the file's content any more, whoever still has it open.
//
// It is our own since what is kept of others' (hanwen/go-fuse, 11,000 lines) can't be closed by its server where the mount was made in another
// namespace, as ours is, and would spare the wire format alone, half of this: taking a file back is not among what it does.
package fuse

// Package file keeps the volumes of a pool as directories: it is the volume.Backend for pools on a file system.
//
// # Layout
//
//	<pool>/
//	  vid.<id>.elimg/          a volume: 0700, its files 0600
//	    meta.json              its attributes; without it the directory is no volume
//	    data.<img|qcow2|iso>   its image
//	    isoinfo.json           what an ISO image is for
//	    cloud-init-metadata/   the files of a seed
//	    .lock                  the flock that excludes other processes; never renamed or removed
//	    .deleted               {"time": …}: it lies in the bin since then
//	    upload.part            data that arrives for Replace
//	    elemento.<purpose>.<operation>.ignore
//	                           says who is at work on it; what is found with the lock free is a crash's
//	    .tmp-*                 temporary files
//	  .vid.<id>.elimg.new/     a volume in the making, its .lock held
//	  .purge.<id>/             a volume that is being removed for good
//	  elemento-bin/            volumes that were deleted, until they are purged
//	    vid.<id>.elimg/
//	    .purge.<id>/
//	  elemento-base/           immutable base images, named by their content
//	    <sha256>.<img|qcow2>
//
// Everything else that lies there is somebody else's and left alone. Volumes with hand-made or older directories
// are read as they are. A symbolic link is never followed: one in a volume's place is no volume, and one in the
// place of its image is damage.
//
// # What counts when
//
// Each change has one moment at which it counts. A new volume: the rename of its directory into place. Convert,
// grow, shrink, SetMeta: the replacement of meta.json. Replace and Compact: the exchange of the image's file with
// the new one. Trash, Restore and Purge: the rename of the directory. What comes before that moment is undone by
// whoever finds it with the lock free, what comes after is finished: Scan for all volumes, Lock for one. It goes by
// what is on disk; the name of the .ignore file tells it only where to look, and its content only which sizes were
// asked for. See recover.go.
//
// The changes go through the methods of dir (dir.go), and no other code here makes any: each of them asks a hook
// first, by which tests let every single one fail, or be the last before a crash.
//
// On ZFS, where every volume may be a dataset of its own, nothing can be renamed that is locked, and other moments
// count: see inplace.go.
//
// # Locks
//
// The lock is a flock on a descriptor that children inherit, so that it is free only when the last of them is
// gone too. A Backend takes it once per volume and shares it between the operation and the Devices that are
// open. The order is: the volume's turn in this process, its flock, the table of base images.
package file

package pool

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// storage is the file system that a pool lies on, through a handle that stays with it whatever happens to the
// path. Its methods may be called at the same time.
type storage struct {
	dir  *os.File
	kind string // such as ext4, or its number where we don't know the name

	// Pools of the same device share its free space. Subvolumes of btrfs and datasets of ZFS have device numbers
	// of their own, so there it is the name of what was mounted.
	device string

	turn  chan struct{} // held while a question to a remote file system is open
	stuck atomic.Bool   // the open question has outlasted patience
}

// patience is how long a remote file system may take to say how much room it has.
const patience = 2 * time.Second

// fileSystems are the names of the usual file systems by statfs's f_type.
var fileSystems = map[uint32]string{
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.CIFS_SUPER_MAGIC:      "cifs",
	unix.SMB2_SUPER_MAGIC:      "smb2",
	unix.SMB_SUPER_MAGIC:       "smb",
	unix.CEPH_SUPER_MAGIC:      "ceph",
	unix.AFS_SUPER_MAGIC:       "afs",
	unix.V9FS_MAGIC:            "9p",
	unix.OCFS2_SUPER_MAGIC:     "ocfs2",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.BCACHEFS_SUPER_MAGIC:  "bcachefs",
	unix.MSDOS_SUPER_MAGIC:     "vfat",
	unix.EXFAT_SUPER_MAGIC:     "exfat",
	unix.SQUASHFS_MAGIC:        "squashfs",
	unix.ISOFS_SUPER_MAGIC:     "iso9660",
	0x2fc12fc1:                 "zfs",
	0x01161970:                 "gfs2",
	0x0bd00bd0:                 "lustre",
}

// openStorage opens the file system of the directory that root stands for.
func openStorage(root *os.Root) (*storage, error) {
	dir, err := root.OpenFile(".", os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fault.Errorf(fault.PoolUnavailable, "its directory can't be opened: %s", cause(err))
	}
	s := &storage{dir: dir, turn: make(chan struct{}, 1)}
	st, err := s.statfs()
	if err == nil {
		s.kind, s.device, err = identify(dir, st)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return s, nil
}

// identify tells the kind of file system that dir lies on, and what else shares its room.
func identify(dir *os.File, st unix.Statfs_t) (kind, device string, err error) {
	kind, ok := fileSystems[uint32(st.Type)]
	if !ok {
		kind = fmt.Sprintf("0x%x", uint32(st.Type))
	}
	var x unix.Statx_t
	cerr := control(dir, func(fd int) {
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &x)
	})
	if cerr != nil || err != nil {
		return "", "", fault.FromOS("its directory can't be looked at", firstOf(cerr, err))
	}
	device = fmt.Sprintf("%d:%d", x.Dev_major, x.Dev_minor)
	if kind != "btrfs" && kind != "zfs" {
		return kind, device, nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return kind, device, nil // each pool is taken to have room of its own
	}
	if source := mountSource(string(mounts), x.Mnt_id); source != "" {
		device = source
		if kind == "zfs" { // all datasets of a zpool
			device, _, _ = strings.Cut(source, "/")
		}
	}
	return kind, device, nil
}

// mountSource returns what is mounted as id, by the text of proc's mountinfo, or "". Pure.
func mountSource(mountinfo string, id uint64) string {
	for line := range strings.Lines(mountinfo) {
		head, tail, ok := strings.Cut(line, " - ")
		if fields := strings.Fields(tail); ok && len(fields) > 1 && strings.HasPrefix(head, fmt.Sprint(id, " ")) {
			return fields[1]
		}
	}
	return ""
}

// room is a file system's free space.
type room struct {
	free     int64 // bytes that a process without privileges may still take
	readOnly bool
}

// ask returns how much room there is now. A file system that doesn't answer is an error, at once where it
// already owes an answer.
func (s *storage) ask() (room, error) {
	st, err := s.statfs()
	if err != nil {
		return room{}, err
	}
	free := room{free: Unlimited, readOnly: st.Flags&unix.ST_RDONLY != 0}
	if blocks := uint64(st.Bsize); blocks == 0 || st.Bavail < Unlimited/blocks {
		free.free = int64(st.Bavail * blocks)
	}
	return free, nil
}

// remote reports whether questions to the file system go to another machine or process, and may never be answered.
func (s *storage) remote() bool {
	switch s.kind {
	case "btrfs", "xfs", "ext4", "tmpfs", "zfs", "overlay", "f2fs", "bcachefs", "vfat", "exfat":
		return false
	}
	return true
}

// statfs asks the file system now. A remote one is asked in a goroutine of its own, one question at a time, so
// that one that is dead costs nobody more than its patience.
func (s *storage) statfs() (unix.Statfs_t, error) {
	if s.kind != "" && !s.remote() {
		return statfs(s.dir)
	}
	if s.stuck.Load() {
		return unix.Statfs_t{}, errSilent
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
	case <-timer.C:
		return unix.Statfs_t{}, errSilent
	}
	type answer struct {
		st  unix.Statfs_t
		err error
	}
	done := make(chan answer, 1)
	go func() {
		st, err := statfs(s.dir)
		done <- answer{st, err} // before the rest, so that whoever gave up sees it
		s.stuck.Store(false)
		<-s.turn
	}()
	select {
	case a := <-done:
		return a.st, a.err
	case <-timer.C:
		s.stuck.Store(true)
		select {
		case a := <-done: // it answered between the two
			s.stuck.Store(false)
			return a.st, a.err
		default:
			return unix.Statfs_t{}, errSilent
		}
	}
}

func statfs(dir *os.File) (st unix.Statfs_t, err error) {
	cerr := control(dir, func(fd int) {
		for {
			if err = unix.Fstatfs(fd, &st); err != unix.EINTR {
				return
			}
		}
	})
	return st, fault.FromOS("its file system can't be asked for its room", firstOf(cerr, err))
}

// close gives the handle back.
func (s *storage) close() { _ = s.dir.Close() }

// control runs fn with the file's descriptor, which stays open so long.
func control(f *os.File, fn func(fd int)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { fn(int(fd)) })
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

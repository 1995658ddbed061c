package file

import (
	"context"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// probeUnique returns the maker for a pool whose volumes are a file system of their own, by making one and
// removing it again. The error says why that can't be.
func probeUnique(ctx context.Context, pool *dir, shared bool) (maker, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(pool.fd.Fd()), &st); err != nil {
		return nil, fault.New(fault.PoolUnavailable, "look at the pool's file system", err)
	}
	if uint32(st.Type) != unix.BTRFS_SUPER_MAGIC {
		if shared {
			return nil, fault.Errorf(fault.PoolUnavailable, `file-system "unique" needs btrfs where the pool is shared; use "default"`)
		}
		return probeZFS(ctx, pool)
	}
	t, err := pool.newTemp()
	if err != nil {
		if fault.Is(err, fault.PoolFull) {
			return btrfs{}, nil
		}
		return nil, err
	}
	defer t.release()
	m := btrfs{}
	if err := m.make(ctx, pool, t.name); err != nil {
		return nil, &fault.Error{
			Code: fault.PoolUnavailable,
			Msg:  `file-system "unique" needs the right to make btrfs subvolumes in the pool: ` + reason(err), Err: err,
		}
	}
	if err := m.remove(ctx, pool, t.name); err != nil {
		return nil, &fault.Error{
			Code: fault.PoolUnavailable,
			Msg:  `file-system "unique" needs the right to remove btrfs subvolumes from the pool: ` + reason(err), Err: err,
		}
	}
	return m, nil
}

// btrfs makes every volume a subvolume: it can have snapshots, a quota and a place of its own. Subvolumes are
// renamed like directories, and an empty one is removed like a directory (since Linux 4.18).
type btrfs struct{}

// subvolumeArgs is struct btrfs_ioctl_vol_args of linux/btrfs.h.
type subvolumeArgs struct {
	fd   int64
	name [4088]byte
}

// subvolumeCreate is BTRFS_IOC_SUBVOL_CREATE: _IOW(0x94, 14, struct btrfs_ioctl_vol_args).
const subvolumeCreate = 1<<30 | unsafe.Sizeof(subvolumeArgs{})<<16 | 0x94<<8 | 14

func (btrfs) make(_ context.Context, pool *dir, name string) error {
	if err := pool.step.ask("make subvolume", name); err != nil {
		return err
	}
	var args subvolumeArgs
	if copy(args.name[:len(args.name)-1], name) < len(name) {
		return &fs.PathError{Op: "make subvolume", Path: name, Err: unix.ENAMETOOLONG}
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, pool.fd.Fd(), subvolumeCreate, uintptr(unsafe.Pointer(&args))) //nolint:gosec // the kernel's interface
	if errno != 0 {
		return &fs.PathError{Op: "make subvolume", Path: name, Err: errno}
	}
	// The umask had its say in the mode.
	return pool.root.Chmod(name, 0o700)
}

func (btrfs) remove(_ context.Context, pool *dir, name string) error { return pool.removeAll(name) }
func (btrfs) inPlace() bool                                          { return false }

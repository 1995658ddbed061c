package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// Config says which directory is a pool and how it is kept.
type Config struct {
	Dir      string       // the pool's directory
	Unique   bool         // each volume is a btrfs subvolume or a ZFS dataset of its own
	Shared   bool         // other servers use the pool at the same time
	Tool     *qemu.Tool   // nil: the pool keeps raw volumes and ISO images only
	Opener   *qemu.Opener // nil: volumes in qcow2 format can't be opened
	Images   Images       // where the images of volumes in format rbd lie; nil: there are none. Closed with the Backend
	ServerID string       // named in .ignore files, for people
	Log      *slog.Logger // nil: nothing is logged

	step       step          // see dir
	maker      maker         // instead of the one that fits the file system; tests only
	settleWait time.Duration // how long a crashed server's children are waited for, which may still hold a volume's lock
}

// settleWait is the default of Config.settleWait. Tests have less time.
const settleWait = 10 * time.Second

// Backend keeps the volumes of one pool.
type Backend struct {
	cfg   Config
	pool  *dir
	self  mark // of this process, to be filled in
	caps  volume.Caps
	maker maker
	local bool // no other machine changes the pool's file system
	locks locks
	bases bases
	disks disks

	stages sync.Map // the volumes that are being made, by id
}

var _ volume.Backend = (*Backend)(nil)

// Open opens a pool, which must be writable. What a crash left behind is there until Scan. The error says why the
// directory can't be a pool of that kind.
func Open(ctx context.Context, cfg Config) (*Backend, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.settleWait == 0 {
		cfg.settleWait = settleWait
	}
	name, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fault.New(fault.PoolUnavailable, "open pool", err)
	}
	if cfg.Images != nil && cfg.Unique {
		return nil, fault.Errorf(fault.PoolUnavailable, "ceph and file-system unique exclude each other: an image on a cluster lies in no subvolume or dataset")
	}
	pool, err := openDir(name, cfg.step)
	if err != nil {
		return nil, &fault.Error{Code: fault.PoolUnavailable, Msg: "the pool's directory can't be opened: " + reason(err), Err: err}
	}
	pool.images = cfg.Images
	b := &Backend{cfg: cfg, pool: pool, self: whoami(cfg.ServerID)}
	if err := b.probe(ctx); err != nil {
		pool.close()
		return nil, err
	}
	return b, nil
}

// probe finds out what the pool's file system can do.
func (b *Backend) probe(ctx context.Context) error {
	b.caps.Formats = []volume.Format{volume.Raw, volume.ISO}
	if b.cfg.Tool != nil {
		b.caps.Formats = []volume.Format{volume.Raw, volume.QCOW2, volume.ISO}
	}
	if b.cfg.Images != nil {
		b.caps.Formats = append([]volume.Format{volume.RBD}, b.caps.Formats...)
	}
	reflink, err := b.pool.probeReflink()
	if err != nil {
		return err
	}
	b.caps.Reflink = reflink
	if b.local, err = b.pool.isLocal(); err != nil {
		return err
	}
	b.maker = plain{}
	if b.cfg.maker != nil {
		b.maker = b.cfg.maker
	} else if b.cfg.Unique {
		b.maker, err = probeUnique(ctx, b.pool, b.cfg.Shared)
	}
	return err
}

// Caps says what the pool's storage can do.
func (b *Backend) Caps() volume.Caps { return b.caps }

// BaseBytes returns the bytes of all base images' files.
func (b *Backend) BaseBytes() int64 { return b.bases.bytes() }

// Close closes the pool's directory, and parts with the cluster if the pool has one.
func (b *Backend) Close() error {
	b.pool.close()
	if b.cfg.Images != nil {
		return b.cfg.Images.Close()
	}
	return nil
}

// List returns the ids of the directories that are named as volumes are.
func (b *Backend) List(context.Context) ([]volume.ID, error) {
	var ids []volume.ID
	err := b.pool.each(func(name []byte) {
		if id, ok := parseVolumeName(name); ok {
			ids = append(ids, id)
		}
	})
	if b.maker.inPlace() {
		ids = slices.DeleteFunc(ids, func(id volume.ID) bool { return b.pool.has(volumeName(id) + "/" + deletedName) })
	}
	return ids, err
}

// Stamp is when the pool's directory last changed. It is not certain on a file system of another machine, whose clock
// is not ours, nor while a change so recent that the next may bear the same time.
func (b *Backend) Stamp() (stamp int64, ok bool) {
	if !b.local || b.cfg.Shared || b.maker.inPlace() {
		return 0, false
	}
	st, err := b.pool.stat(".")
	changed := time.Unix(st.Ctim.Unix())
	return changed.UnixNano(), err == nil && time.Since(changed) > time.Second // file systems' clocks tick every few ms
}

// Load reads a volume that stands in the pool.
func (b *Backend) Load(_ context.Context, id volume.ID) (volume.Found, error) {
	d, err := b.pool.volume(".", id)
	if missing(err) {
		return volume.Found{}, fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return volume.Found{}, fault.FromOS("open volume", err)
	}
	defer d.close()
	if b.inBinNow(d, ".") {
		return volume.Found{}, fault.Errorf(fault.VolumeNotFound, "volume %s lies in the bin: %w", id, fs.ErrNotExist)
	}
	return b.load(d, id, false)
}

// Directory opens the directory of a volume that stands in the pool.
func (b *Backend) Directory(id volume.ID) (*os.Root, error) {
	d, err := b.pool.volume(".", id)
	if missing(err) || err == nil && b.inBinNow(d, ".") {
		if err == nil {
			d.close()
		}
		return nil, fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fault.FromOS("open volume", err)
	}
	d.fd.Close() //nolint:errcheck,gosec // nothing was written
	return d.root, nil
}

// Stat asks the file system about a volume's image.
func (b *Backend) Stat(id volume.ID, m volume.Meta) (volume.Stat, error) {
	name := volumeName(id) + "/" + dataName(m.Format)
	st, err := b.pool.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		name = binName + "/" + name
		st, err = b.pool.stat(name)
	}
	if err != nil {
		return volume.Stat{}, fault.FromOS("stat the image", err)
	}
	stat := volume.Stat{OnDisk: st.Blocks * block, Modified: time.Unix(st.Mtim.Unix()).UTC()}
	if m.Format == volume.RBD {
		b.statImage(name, &stat)
	}
	return stat, nil
}

// block is the unit of st_blocks in bytes, whatever the file system's is.
const block = 512

// allocated returns the bytes of storage that a file takes.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * block
	}
	return info.Size()
}

// tool returns the Tool, or why there is none.
func (b *Backend) tool() (*qemu.Tool, error) {
	if b.cfg.Tool == nil {
		return nil, fault.Errorf(fault.ImageToolMissing, "this server runs without qemu-img, and only raw volumes work without it")
	}
	return b.cfg.Tool, nil
}

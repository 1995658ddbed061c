package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Images keeps images that do not lie in the pool's directory: those of volumes in format rbd, on a cluster. Which of them is a
// volume's, its data.rbd says, a reference. It is written before the image is made, and removed after it, so that what a
// crash leaves is always named by a file. Methods may be called at the same time, and errors are classified.
type Images interface {
	// New returns a name that no image bears, and the reference to it. It makes nothing.
	New(id volume.ID) (name string, ref []byte)
	// Parse returns the name in a reference, if it is one to these images.
	Parse(ref []byte) (name string, err error)
	// Of returns the volume that an image was made for, if its name tells.
	Of(name string) (id volume.ID, ok bool)
	// Path returns QEMU's name for an image, or with snap for its snapshot, and FromPath the other way round.
	Path(name, snap string) string
	FromPath(path string) (name, snap string, ok bool)

	Create(name string, size int64) error
	// Clone makes an image that shares its data with another, as that is now or in its snapshot.
	Clone(from, snap, name string) error
	Size(name string) (int64, error)
	// Resize works on an open image too, whose Device knows nothing of it until Grow.
	Resize(name string, size int64) error
	Parent(name string) (string, error)
	// Flatten makes a clone stand alone, and tells progress, if it is not nil, how far it came.
	Flatten(ctx context.Context, name string, progress func(done, total int64)) error
	// Snapshot freezes what an image holds until release is called. The image may be open.
	Snapshot(name string) (snap string, release func(), err error)
	// Trash puts an image out of reach, Untrash brings it back. One that is there already stays.
	Trash(name string) error
	Untrash(name string) error
	// Removable tells by an error why Remove would fail.
	Removable(name string) error
	// Remove removes an image. One that is not there is removed already.
	Remove(name string) error
	// OpenDevice opens an image, or with snap its snapshot for reading. The Device is a volume.ExtentReader, a
	// volume.VectorWriter and volume.Parallel.
	OpenDevice(ctx context.Context, name, snap string, readonly bool) (volume.Device, error)
	// Credentials lets a client open an image, and nothing else, without this server.
	Credentials(name string, id volume.ID, client volume.Client) (volume.DirectAccess, error)
	// Usage returns what Measure found, or an earlier look at it. It never waits.
	Usage(name string) (bytes int64, modified time.Time)
	Measure(name string)
	// Sweep removes what is left over.
	Sweep() error
	Close() error
}

// isRef reports whether a file of that name in a volume's directory is a reference.
func isRef(name string) bool {
	return name == dataName(volume.RBD) || strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, refSuffix)
}

// ref returns the image that a reference in the directory names. os.ErrNotExist is in the error's chain where there is no such file.
func (d *dir) ref(name string) (string, error) {
	data, _, err := readSmall(int(d.fd.Fd()), name, maxSmall)
	switch {
	case err != nil:
		return "", fault.FromOS("read "+name, err)
	case d.images == nil:
		return "", errNoCluster
	}
	return d.images.Parse(data)
}

var errNoCluster = fault.Errorf(fault.VolumeDamaged, "its image lies on a Ceph cluster, and the pool's settings.json names none")

// removeImage removes what a reference names, before the reference is removed. What can't be understood, or was made for another
// volume whose directory was copied, is left alone.
func (d *dir) removeImage(name string) error {
	if !isRef(name) || d.images == nil {
		return nil
	}
	image, err := d.ref(name)
	if err != nil {
		return nil //nolint:nilerr // there is nothing that could be removed
	}
	if id, ok := d.images.Of(image); ok && !strings.Contains(path.Base(d.path), id.String()) {
		return nil
	}
	if name != dataName(volume.RBD) {
		switch counts, err := d.ref(dataName(volume.RBD)); {
		case err == nil && counts == image: // this is a copy of the reference; see trade
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return d.images.Remove(image)
}

// removeImages removes what the references in a directory name.
func (d *dir) removeImages(name string) error {
	if d.images == nil {
		return nil
	}
	s, err := d.sub(name)
	if err != nil {
		return nil // it is no directory, or whoever removes it is told
	}
	defer s.close()
	names, err := s.names()
	for _, name := range names {
		err = errors.Join(err, s.removeImage(name))
	}
	return err
}

// imageSize asks the cluster for the size of an image that the reference names.
func (d *dir) imageSize(name string) (int64, error) {
	image, err := d.ref(name)
	if err != nil {
		return 0, err
	}
	return d.images.Size(image)
}

func (d *dir) resizeImage(name string, size int64) error {
	image, err := d.ref(name)
	if err != nil {
		return err
	}
	return d.images.Resize(image, size)
}

// clustered refuses what has its image on a cluster where the pool has none.
func (b *Backend) clustered(f volume.Found) volume.Found {
	if f.Problem == nil && f.Meta.Format == volume.RBD && b.cfg.Images == nil {
		return damaged(f, dataName(volume.RBD), errNoCluster)
	}
	return f
}

// clusterGone reports whether err, of recovering a volume, may be the cluster's alone: then the volume is not damaged, and whoever
// has its lock next recovers it. What is there is what meta.json says.
func (b *Backend) clusterGone(err error) bool {
	return b.cfg.Images != nil && fault.Is(err, fault.PoolUnavailable)
}

// statImage adds what is known of the image on the cluster that the file name in the pool's directory is a reference to. Lists ask
// for thousands, so it makes few system calls: the directory on the way is a volume's, and was none if it were a symbolic link.
func (b *Backend) statImage(name string, st *volume.Stat) {
	raw, err := b.pool.fd.SyscallConn() // as in dir.stat
	if err != nil || b.cfg.Images == nil {
		return
	}
	var data []byte
	if cerr := raw.Control(func(fd uintptr) { data, _, err = readSmall(int(fd), name, maxSmall) }); cerr != nil || err != nil {
		return
	}
	image, err := b.cfg.Images.Parse(data)
	if err != nil {
		return
	}
	bytes, modified := b.cfg.Images.Usage(image)
	st.OnDisk = bytes
	if modified.After(st.Modified) {
		st.Modified = modified
	}
}

var _ volume.DirectBackend = (*Backend)(nil)

// Direct lets a client open the image of a volume in format rbd itself.
func (b *Backend) Direct(_ context.Context, id volume.ID, client volume.Client) (volume.DirectAccess, error) {
	d, err := b.pool.volume(".", id)
	if err != nil {
		return volume.DirectAccess{}, fault.FromOS("open volume", err)
	}
	defer d.close()
	image, err := d.ref(dataName(volume.RBD))
	if errors.Is(err, fs.ErrNotExist) {
		return volume.DirectAccess{}, fault.Errorf(fault.UnsupportedFormat, "volume %s has no image on a cluster", id)
	}
	if err != nil {
		return volume.DirectAccess{}, err
	}
	return b.cfg.Images.Credentials(image, id, client)
}

// image returns the name of the volume's image on the cluster, "" where it has none that could be worked on.
func (h *held) image() string {
	image, err := h.d.ref(dataName(volume.RBD))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			h.b.cfg.Log.Warn("image on the cluster not found", slog.Any("volume", h.id), slog.Any("error", err))
		}
		return ""
	}
	return image
}

// nameImage names the volume's image on the cluster.
func (h *held) nameImage(img *volume.Image) {
	image := h.image()
	img.Path = h.b.cfg.Images.Path(image, "")
	img.OnDisk, _ = h.b.cfg.Images.Usage(image)
}

// trashImage puts the volume's image on the cluster out of reach, if it has one.
func (h *held) trashImage() error {
	if image := h.image(); image != "" {
		return h.d.images.Trash(image)
	}
	return nil
}

// untrashImage brings it back. One that stays is brought back when it is opened.
func (h *held) untrashImage() {
	if image := h.image(); image != "" {
		if err := h.d.images.Untrash(image); err != nil {
			h.b.cfg.Log.Warn("image left in the cluster's trash", slog.Any("volume", h.id), slog.Any("error", err))
		}
	}
}

// removable refuses to purge a volume whose image on the cluster can't go.
func (h *held) removable() error {
	if image := h.image(); image != "" {
		return h.d.images.Removable(image)
	}
	return nil
}

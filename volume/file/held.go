package file

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"elstore/volume"
	"elstore/volume/fault"
)

// held is a volume whose lock an operation has.
type held struct {
	b      *Backend
	id     volume.ID
	lock   *lock
	d      *dir
	inBin  bool
	gone   bool // purged
	parted bool // part was called

	op    mark     // as Lock described it
	marks []string // the .ignore files of this operation
	// broken is why the volume was not brought back from an earlier crash or failure. Until that succeeds it can be
	// looked at, moved and removed, but not changed.
	broken error
	torn   bool // a failed change could not be undone; the .ignore files stay, and whoever has the lock next settles it
}

var _ volume.Held = (*held)(nil)

// Lock takes the volume, wherever it lies, and settles what a crash left of it.
func (b *Backend) Lock(ctx context.Context, id volume.ID, op volume.Operation) (volume.Held, error) {
	k := b.locks.use(id)
	select {
	case <-k.turn:
	default:
		select {
		case <-k.turn:
		case <-ctx.Done():
			defer b.locks.leave(id, k)
			return nil, busy(id, b.locks.purpose(k))
		}
	}
	d, inBin, err := b.take(ctx, id, k)
	if err != nil {
		k.turn <- struct{}{}
		b.locks.leave(id, k)
		return nil, err
	}
	b.locks.doing(k, op.Purpose)
	h := &held{b: b, id: id, lock: k, d: d, inBin: inBin, op: b.self}
	h.op.Purpose, h.op.Args = op.Purpose, op.Args
	h.settle(context.WithoutCancel(ctx)) // waiting has an end, but what is left behind must be cleared all the same
	if h.broken == nil {
		h.describe()
	}
	return h, nil
}

// settle recovers the volume if something is left behind.
func (h *held) settle(ctx context.Context) {
	c, err := h.d.contents()
	if err == nil && c.odd(h.inBin) {
		err = h.b.settle(ctx, h.d, h.id, h.inBin, c, h.lock.file)
	}
	if err != nil {
		h.b.cfg.Log.Error("volume not recovered", slog.Any("volume", h.id), slog.Any("error", err))
	}
	h.broken = err
}

// describe writes the .ignore file for people. A disk that is too full for it must not keep a volume from being removed.
func (h *held) describe() {
	name := h.op.fileName()
	if err := h.d.note(name, h.op.encode()); err == nil {
		h.marks = append(h.marks, name)
	} else {
		_ = h.d.remove(name) // half-written
	}
}

// begin writes an .ignore file by which settle knows what to look for. Without it nothing is begun.
func (h *held) begin(m mark) error {
	whole := h.op
	whole.Purpose, whole.Before, whole.After, whole.Image = m.Purpose, m.Before, m.After, m.Image
	name := whole.fileName()
	h.marks = append(h.marks, name)
	return h.d.note(name, whole.encode())
}

// end removes the .ignore files.
func (h *held) end() {
	if h.torn {
		return
	}
	for _, name := range h.marks {
		_ = h.d.remove(name) // one that stays is found by whoever has the lock next
	}
	h.marks = nil
}

// undone ends a change that failed, and err is what undoing it came to.
func (h *held) undone(err error) {
	if err != nil && !h.torn {
		h.torn, h.broken = true, err
		h.b.cfg.Log.Error("failed change not undone yet", slog.Any("volume", h.id), slog.Any("error", err))
	}
	h.end()
}

// Unlock gives the volume back.
func (h *held) Unlock() {
	if h.lock == nil {
		return
	}
	if !h.gone {
		h.end()
	}
	h.part()
	h.b.locks.doing(h.lock, "")
	h.lock.turn <- struct{}{}
	h.b.locks.leave(h.id, h.lock)
	h.lock = nil
}

// part closes what the operation has open, the lock too if no Device shares it.
func (h *held) part() {
	if !h.parted {
		h.parted = true
		h.d.close()
		h.b.locks.part(h.lock)
	}
}

// ready refuses to change the image of a volume that is damaged, gone or in the bin.
func (h *held) ready(ctx context.Context) error {
	switch {
	case h.gone:
		return fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", h.id, fs.ErrNotExist)
	case h.inBin:
		return fault.Errorf(fault.VolumeInTrash, "volume %s lies in the bin; restore it first", h.id)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case h.broken != nil:
		return h.unrecovered()
	}
	return nil
}

// unrecovered says why the volume can't be used.
func (h *held) unrecovered() error {
	if h.b.clusterGone(h.broken) {
		return fault.Errorf(fault.PoolUnavailable, "volume %s was left behind by a failure, and is recovered when its cluster is back: %w", h.id, h.broken)
	}
	return fault.Errorf(fault.VolumeDamaged, "volume %s was left behind by a failure and can't be recovered: %w", h.id, h.broken)
}

// commit replaces meta.json: the moment at which a change counts. If it fails, the old one is put back, since the new
// one may be there already; if that fails too, h is torn, and settle goes by what is. putBack does the same later.
func (h *held) commit(m volume.Meta) (putBack func() error, err error) {
	old, _, err := readSmall(int(h.d.fd.Fd()), metaName, volume.MaxMeta+1)
	if err != nil {
		return nil, fault.FromOS("read "+metaName, err)
	}
	putBack = func() error {
		now, _, err := readSmall(int(h.d.fd.Fd()), metaName, volume.MaxMeta+1)
		if err == nil && bytes.Equal(now, old) {
			return h.d.sync(".")
		}
		return h.d.replace(metaName, old)
	}
	if err = h.d.replace(metaName, m.Encode()); err != nil {
		if perr := putBack(); perr != nil {
			h.torn, h.broken = true, perr
		}
	}
	return putBack, err
}

// Load reads the volume again.
func (h *held) Load(context.Context) (volume.Found, error) {
	if h.gone {
		return volume.Found{}, fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", h.id, fs.ErrNotExist)
	}
	f, err := h.b.load(h.d, h.id, h.inBin)
	if err == nil && h.broken != nil && !h.b.clusterGone(h.broken) {
		f.Problem = h.unrecovered()
	}
	return f, err
}

// SetMeta replaces the attributes.
func (h *held) SetMeta(ctx context.Context, m volume.Meta) error {
	if h.gone || h.broken != nil || ctx.Err() != nil {
		return h.ready(ctx)
	}
	f, err := h.Load(ctx)
	if err != nil {
		return err
	}
	if f.Problem != nil {
		return f.Problem
	}
	if m.Format != f.Meta.Format || m.Size != f.Meta.Size || m.Base != f.Meta.Base {
		return fault.Errorf(fault.VolumeMetadataNotUpdatable, "format, size and base of volume %s can't be changed as attributes", h.id)
	}
	if len(m.Encode()) > volume.MaxMeta {
		return fault.Errorf(fault.BadRequest, "the attributes of volume %s take more than %d bytes", h.id, volume.MaxMeta)
	}
	_, err = h.commit(m)
	return err
}

// Image names the image.
func (h *held) Image(m volume.Meta) volume.Image {
	img := volume.Image{
		Path: filepath.Join(h.d.path, dataName(m.Format)), Format: string(qemuFormat(m.Format)),
		Size: m.Size, Base: m.Base, Pool: h.b,
	}
	if m.Format == volume.RBD {
		h.nameImage(&img)
		return img
	}
	if info, err := h.d.root.Lstat(dataName(m.Format)); err == nil {
		img.OnDisk = allocated(info)
	}
	if m.Base != "" {
		img.OnDisk = min(img.OnDisk+h.b.bases.sizeOf(m.Base), m.Size)
	}
	return img
}

// Incoming opens the file for data that arrives.
func (h *held) Incoming() (*os.File, error) {
	if err := h.ready(context.Background()); err != nil {
		return nil, err
	}
	f, err := h.d.openOrNew(uploadName)
	return f, fault.FromOS("open the file for the upload", err)
}

// Received returns how much has arrived.
func (h *held) Received() (int64, error) {
	if h.gone {
		return 0, nil
	}
	info, err := h.d.root.Lstat(uploadName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.FromOS("look at the upload", err)
	}
	return info.Size(), nil
}

// DropIncoming removes what has arrived.
func (h *held) DropIncoming() error {
	if h.gone || !h.d.has(uploadName) {
		return nil
	}
	if err := h.d.remove(uploadName); err != nil {
		return err
	}
	return h.d.sync(".")
}

package volumetest

import (
	"context"
	"os"
	"time"

	"elstore/volume"
)

// Failing wraps b: each method that can fail asks step first, with its name, and fails with what that returns, without anything
// being done. Methods that clean up (Discard, Unlock, Close) and that only tell do not ask.
func Failing(b volume.Backend, step func(call string) error) volume.Backend {
	return &failing{b, step}
}

type failing struct {
	volume.Backend
	step func(string) error
}

func (f *failing) Scan(ctx context.Context, yield func(volume.Found) error) error {
	if err := f.step("Scan"); err != nil {
		return err
	}
	return f.Backend.Scan(ctx, yield)
}

func (f *failing) List(ctx context.Context) ([]volume.ID, error) {
	if err := f.step("List"); err != nil {
		return nil, err
	}
	return f.Backend.List(ctx)
}

func (f *failing) Load(ctx context.Context, id volume.ID) (volume.Found, error) {
	if err := f.step("Load"); err != nil {
		return volume.Found{}, err
	}
	return f.Backend.Load(ctx, id)
}

func (f *failing) Stat(id volume.ID, m volume.Meta) (volume.Stat, error) {
	if err := f.step("Stat"); err != nil {
		return volume.Stat{}, err
	}
	return f.Backend.Stat(id, m)
}

func (f *failing) Directory(id volume.ID) (*os.Root, error) {
	if err := f.step("Directory"); err != nil {
		return nil, err
	}
	return f.Backend.Directory(id)
}

func (f *failing) Peek(ctx context.Context, id volume.ID, m volume.Meta) (volume.Device, error) {
	if err := f.step("Peek"); err != nil {
		return nil, err
	}
	d, err := f.Backend.Peek(ctx, id, m)
	if err != nil {
		return nil, err
	}
	return &failingDevice{d, f}, nil
}

func (f *failing) Base(sum volume.Checksum) (volume.Image, bool) {
	img, ok := f.Backend.Base(sum)
	return f.named(img), ok
}

func (f *failing) Lock(ctx context.Context, id volume.ID, op volume.Operation) (volume.Held, error) {
	if err := f.step("Lock"); err != nil {
		return nil, err
	}
	h, err := f.Backend.Lock(ctx, id, op)
	if err != nil {
		return nil, err
	}
	return &failingHeld{h, f}, nil
}

func (f *failing) Stage(ctx context.Context, id volume.ID) (volume.Stage, error) {
	if err := f.step("Stage"); err != nil {
		return nil, err
	}
	s, err := f.Backend.Stage(ctx, id)
	if err != nil {
		return nil, err
	}
	return &failingStage{s, f}, nil
}

// own makes an image that the wrapped Backend named, and the wrapper passed on, the wrapped one's again.
func (f *failing) own(c volume.Content) volume.Content {
	if c.From != nil && c.From.Pool == volume.Backend(f) {
		from := *c.From
		from.Pool = f.Backend
		c.From = &from
	}
	return c
}

// named makes the wrapper the pool of an image.
func (f *failing) named(img volume.Image) volume.Image {
	if img.Pool == f.Backend {
		img.Pool = f
	}
	return img
}

type failingStage struct {
	volume.Stage
	f *failing
}

func (s *failingStage) Incoming() (*os.File, error) {
	if err := s.f.step("Stage.Incoming"); err != nil {
		return nil, err
	}
	return s.Stage.Incoming()
}

func (s *failingStage) Fill(ctx context.Context, m volume.Meta, c volume.Content) (volume.Meta, error) {
	if err := s.f.step("Stage.Fill"); err != nil {
		return m, err
	}
	return s.Stage.Fill(ctx, m, s.f.own(c))
}

func (s *failingStage) WriteFile(name string, data []byte) error {
	if err := s.f.step("Stage.WriteFile"); err != nil {
		return err
	}
	return s.Stage.WriteFile(name, data)
}

func (s *failingStage) Commit(ctx context.Context, m volume.Meta) error {
	if err := s.f.step("Stage.Commit"); err != nil {
		return err
	}
	return s.Stage.Commit(ctx, m)
}

type failingHeld struct {
	volume.Held
	f *failing
}

func (h *failingHeld) Load(ctx context.Context) (volume.Found, error) {
	if err := h.f.step("Held.Load"); err != nil {
		return volume.Found{}, err
	}
	return h.Held.Load(ctx)
}

func (h *failingHeld) SetMeta(ctx context.Context, m volume.Meta) error {
	if err := h.f.step("Held.SetMeta"); err != nil {
		return err
	}
	return h.Held.SetMeta(ctx, m)
}

func (h *failingHeld) Resize(ctx context.Context, m volume.Meta, size int64, shrink bool, p volume.Prealloc) (volume.Meta, error) {
	if err := h.f.step("Held.Resize"); err != nil {
		return m, err
	}
	return h.Held.Resize(ctx, m, size, shrink, p)
}

func (h *failingHeld) Convert(ctx context.Context, m volume.Meta, to volume.Format, p volume.Progress) (volume.Meta, error) {
	if err := h.f.step("Held.Convert"); err != nil {
		return m, err
	}
	return h.Held.Convert(ctx, m, to, p)
}

func (h *failingHeld) Compact(ctx context.Context, m volume.Meta, p volume.Progress) (volume.Meta, error) {
	if err := h.f.step("Held.Compact"); err != nil {
		return m, err
	}
	return h.Held.Compact(ctx, m, p)
}

func (h *failingHeld) Replace(ctx context.Context, m volume.Meta, c volume.Content) (volume.Meta, error) {
	if err := h.f.step("Held.Replace"); err != nil {
		return m, err
	}
	return h.Held.Replace(ctx, m, h.f.own(c))
}

func (h *failingHeld) Incoming() (*os.File, error) {
	if err := h.f.step("Held.Incoming"); err != nil {
		return nil, err
	}
	return h.Held.Incoming()
}

func (h *failingHeld) Received() (int64, error) {
	if err := h.f.step("Held.Received"); err != nil {
		return 0, err
	}
	return h.Held.Received()
}

func (h *failingHeld) DropIncoming() error {
	if err := h.f.step("Held.DropIncoming"); err != nil {
		return err
	}
	return h.Held.DropIncoming()
}

func (h *failingHeld) Files() ([]string, error) {
	if err := h.f.step("Held.Files"); err != nil {
		return nil, err
	}
	return h.Held.Files()
}

func (h *failingHeld) ReadFile(name string) ([]byte, error) {
	if err := h.f.step("Held.ReadFile"); err != nil {
		return nil, err
	}
	return h.Held.ReadFile(name)
}

func (h *failingHeld) WriteFile(name string, data []byte) error {
	if err := h.f.step("Held.WriteFile"); err != nil {
		return err
	}
	return h.Held.WriteFile(name, data)
}

func (h *failingHeld) RemoveFile(name string) error {
	if err := h.f.step("Held.RemoveFile"); err != nil {
		return err
	}
	return h.Held.RemoveFile(name)
}

func (h *failingHeld) Image(m volume.Meta) volume.Image { return h.f.named(h.Held.Image(m)) }

func (h *failingHeld) Snapshot(ctx context.Context, m volume.Meta) (volume.Image, func(), error) {
	if err := h.f.step("Held.Snapshot"); err != nil {
		return volume.Image{}, nil, err
	}
	img, release, err := h.Held.Snapshot(ctx, m)
	return h.f.named(img), release, err
}

func (h *failingHeld) Export(ctx context.Context, m volume.Meta, format volume.Format, p volume.Progress) (volume.Image, func(), error) {
	if err := h.f.step("Held.Export"); err != nil {
		return volume.Image{}, nil, err
	}
	img, release, err := h.Held.Export(ctx, m, format, p)
	return h.f.named(img), release, err
}

func (h *failingHeld) Trash(ctx context.Context, now time.Time) error {
	if err := h.f.step("Held.Trash"); err != nil {
		return err
	}
	return h.Held.Trash(ctx, now)
}

func (h *failingHeld) Restore(ctx context.Context) error {
	if err := h.f.step("Held.Restore"); err != nil {
		return err
	}
	return h.Held.Restore(ctx)
}

func (h *failingHeld) Purge(ctx context.Context) error {
	if err := h.f.step("Held.Purge"); err != nil {
		return err
	}
	return h.Held.Purge(ctx)
}

func (h *failingHeld) Open(ctx context.Context, m volume.Meta, readonly bool) (volume.Device, error) {
	if err := h.f.step("Held.Open"); err != nil {
		return nil, err
	}
	d, err := h.Held.Open(ctx, m, readonly)
	if err != nil {
		return nil, err
	}
	return &failingDevice{d, h.f}, nil
}

func (h *failingHeld) Lend(ctx context.Context, m volume.Meta) (volume.Lent, error) {
	if err := h.f.step("Held.Lend"); err != nil {
		return nil, err
	}
	return h.Held.Lend(ctx, m)
}

func (h *failingHeld) Idle(ctx context.Context, m volume.Meta) error {
	if err := h.f.step("Held.Idle"); err != nil {
		return err
	}
	return h.Held.Idle(ctx, m)
}

type failingDevice struct {
	volume.Device
	f *failing
}

func (d *failingDevice) ReadAt(p []byte, off int64) (int, error) {
	if err := d.f.step("Device.ReadAt"); err != nil {
		return 0, err
	}
	return d.Device.ReadAt(p, off)
}

func (d *failingDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := d.f.step("Device.WriteAt"); err != nil {
		return 0, err
	}
	return d.Device.WriteAt(p, off)
}

func (d *failingDevice) Flush(ctx context.Context) error {
	if err := d.f.step("Device.Flush"); err != nil {
		return err
	}
	return d.Device.Flush(ctx)
}

func (d *failingDevice) Discard(off, length int64) error {
	if err := d.f.step("Device.Discard"); err != nil {
		return err
	}
	return d.Device.Discard(off, length)
}

func (d *failingDevice) WriteZeroes(off, length int64, unmap bool) error {
	if err := d.f.step("Device.WriteZeroes"); err != nil {
		return err
	}
	return d.Device.WriteZeroes(off, length, unmap)
}

func (d *failingDevice) Grow(size int64) error {
	if err := d.f.step("Device.Grow"); err != nil {
		return err
	}
	return d.Device.Grow(size)
}

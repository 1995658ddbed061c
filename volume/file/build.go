package file

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// builder makes one image: the file name in d, with what content says, for a volume with the attributes meta. What it
// made is on stable storage, but for its name, when a method returns nil; on an error it may leave a file.
type builder struct {
	b       *Backend
	id      volume.ID // of the volume
	d       *dir
	name    string
	meta    volume.Meta
	content volume.Content
	lock    *os.File // for children
	adopt   bool     // an owned source may be taken as it is, and changed
	passing bool     // the image need not survive a crash
	meter   *meter

	pinned string // the base image that the image needs, to be unpinned, or ""
	base   *os.File
}

// build makes the image and returns the attributes with its Size and Base.
func (u *builder) build(ctx context.Context) (volume.Meta, error) {
	if ctx.Err() != nil {
		return u.meta, context.Cause(ctx)
	}
	from := u.content.From
	if err := u.check(); err != nil {
		return u.meta, err
	}
	u.meta.Base = ""
	if from != nil {
		u.meta.Size = max(u.meta.Size, sectors(from.Size))
	}
	u.meter = newMeter(u.content.Progress, u.meta.Size)
	var err error
	switch {
	case u.meta.Format == volume.RBD:
		err = u.onCluster(ctx)
	case from == nil:
		err = u.zeros(ctx)
	case u.content.Overlay:
		err = u.overlay(ctx)
	case u.keeps():
		err = u.copy(ctx)
	case onCluster(from):
		err = u.fromCluster(ctx)
	default:
		err = u.convert(ctx)
	}
	return u.meta, err
}

// release lets go of the base image, which goes if no volume needs it by then.
func (u *builder) release() {
	if u.base != nil {
		unlock(u.base)
		u.base = nil
	}
	if u.pinned == "" {
		return
	}
	u.b.bases.unpin(u.pinned)
	if err := u.b.dropBase(u.pinned); err != nil {
		u.b.cfg.Log.Warn("base image left behind", slog.Any("base", u.pinned), slog.Any("error", err))
	}
	u.pinned = ""
}

// leavePinned keeps the base image that the new one needs until this process ends: release does not drop it.
func (u *builder) leavePinned() { u.pinned = "" }

// check refuses what can't be.
func (u *builder) check() error {
	m, from := u.meta, u.content.From
	switch {
	case m.Format == volume.RBD && u.b.cfg.Images == nil:
		return fault.Errorf(fault.UnsupportedFormat, "the pool keeps files: use raw or qcow2, not %s", m.Format)
	case m.Size < 0 || m.Size > volume.MaxSize:
		return fault.Errorf(fault.BadRequest, "size %d is not between %d and %d bytes", m.Size, volume.SectorSize, int64(volume.MaxSize))
	case from == nil && m.Size == 0 && m.Format != volume.ISO: // whose content may be yet to come
		return fault.Errorf(fault.BadRequest, "an empty volume needs a size of at least %d bytes", volume.SectorSize)
	case from == nil && u.content.Overlay:
		return fault.Errorf(fault.BadRequest, "an overlay needs an image that it overlays")
	case u.content.Overlay && m.Format != volume.QCOW2:
		return fault.Errorf(fault.VolumeFormatNotAllowed, "an overlay has format qcow2, not %s", m.Format)
	case from == nil:
		return nil
	case from.Size <= 0 || from.Size > volume.MaxSize:
		return fault.Errorf(fault.ImageRefused, "the image has %d bytes, which is not between 1 and %d", from.Size, int64(volume.MaxSize))
	case m.Size > 0 && sectors(from.Size) > m.Size:
		return tooLarge(from.Size, m.Size)
	}
	if _, err := qemu.ParseFormat(from.Format); err != nil {
		return err
	}
	return checkSource(from)
}

// checkSource looks once more at what names other files, before anything follows those names: a qcow2 image needs the
// base image that it was said to need and nothing else.
func checkSource(from *volume.Image) error {
	if from.Format != string(qemu.QCOW2) || !filepath.IsAbs(from.Path) {
		return nil
	}
	f, err := openSource(from.Path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	switch size, base, err := lookAtQCOW2(f); {
	case err != nil:
		return fault.Errorf(fault.ImageRefused, "the image is refused: %s", reason(err))
	case base != from.Base:
		return fault.Errorf(fault.ImageRefused, "the image is refused: it needs another base image than it was said to")
	case size != from.Size:
		return fault.Errorf(fault.ImageRefused, "the image is refused: it has %d bytes, and was said to have %d", size, from.Size)
	}
	return nil
}

func tooLarge(have, want int64) error {
	return fault.Errorf(fault.VolumeDimensionNotShrinkable, "the image has %d bytes and doesn't fit into a volume of %d bytes", have, want)
}

// sectors rounds up to whole sectors.
func sectors(n int64) int64 {
	return (n + volume.SectorSize - 1) / volume.SectorSize * volume.SectorSize
}

// keeps reports whether the source's file, copied as it is, is the volume's image.
func (u *builder) keeps() bool {
	from := u.content.From
	return filepath.IsAbs(from.Path) && qemu.Format(from.Format) == qemuFormat(u.meta.Format) &&
		(from.Base == "" || from.Pool == volume.Backend(u.b))
}

// qemuFormat returns QEMU's name of the format of a volume's image. An ISO image is what it is, byte by byte.
func qemuFormat(f volume.Format) qemu.Format {
	if f == volume.QCOW2 {
		return qemu.QCOW2
	}
	return qemu.Raw
}

// qemuFile names an image in d for qemu-img.
func qemuFile(d *dir, name string, f qemu.Format) qemu.Image {
	return withBases(filepath.Join(d.path, name), f)
}

// withBases is an image, which may be an overlay of one of its pool's base images: it names them relatively.
func withBases(path string, f qemu.Format) qemu.Image {
	return qemu.Image{Path: path, Format: f, Bases: filepath.Join(filepath.Dir(path), "..", baseName)}
}

// Image is the qcow2 image at a path in a pool, for who looks at it without a Backend.
func Image(path string) qemu.Image { return withBases(path, qemu.QCOW2) }

// image names the image that is being made.
func (u *builder) image() qemu.Image { return qemuFile(u.d, u.name, qemuFormat(u.meta.Format)) }

// zeros makes an empty image.
func (u *builder) zeros(ctx context.Context) error {
	p := u.content.Prealloc
	if u.meta.Format == volume.QCOW2 {
		return u.create(ctx, p, "")
	}
	f, err := u.d.openNew(u.name)
	if err != nil {
		return fault.FromOS("make the image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	if err := u.d.extend(ctx, f, 0, u.meta.Size, p, u.meter); err != nil {
		return err
	}
	if err := u.sync(f); err != nil {
		return err
	}
	u.meter.end()
	return nil
}

// create makes an empty qcow2 image, with a base if it is the name of one.
func (u *builder) create(ctx context.Context, p volume.Prealloc, base string) error {
	tool, err := u.b.tool()
	if err != nil {
		return err
	}
	o := qemu.CreateOptions{Image: u.image(), Size: u.meta.Size, Preallocation: qemu.Preallocation(p)}
	if base != "" {
		format, _ := parseBaseName(base)
		o.Backing, o.BackingFormat = basePath+base, qemu.Format(format)
	}
	if err := u.d.step.ask("qemu-img create", u.name); err != nil {
		return err
	}
	if err := tool.Create(ctx, o, u.lock); err != nil {
		return err
	}
	u.meter.end()
	return nil
}

// sync makes a file durable that is written.
func (u *builder) sync(f *os.File) error {
	if u.passing {
		return nil
	}
	return u.d.fsync(f)
}

// copy makes the image a copy of the source's file, or the source's file itself.
func (u *builder) copy(ctx context.Context) error {
	from := u.content.From
	if from.Base != "" {
		if err := u.need(from.Base); err != nil {
			return err
		}
	}
	adopted, err := u.take()
	if err != nil {
		return err
	}
	if !adopted {
		if err := u.copyFile(ctx); err != nil {
			return err
		}
	}
	return u.grow(ctx)
}

// take makes an owned source the image. One that has to grow is taken only where it need not be kept as it is, or is no more than its
// bytes, so that it can be cut back.
func (u *builder) take() (bool, error) {
	from := u.content.From
	if !from.Owned || !u.adopt && from.Size != u.meta.Size && u.meta.Format == volume.QCOW2 {
		return false, nil
	}
	err := u.d.link(from.Path, u.name)
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EMLINK):
		return false, nil
	case err != nil:
		return false, fault.FromOS("take over the image", err)
	}
	f, err := u.d.open(u.name, true)
	if err != nil {
		return false, fault.FromOS("take over the image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	if err := u.d.change("chmod", f, func(fd int) error { return unix.Fchmod(fd, 0o600) }); err != nil {
		return false, err
	}
	return true, u.d.fsync(f)
}

// grow gives the copied image the volume's size, and makes sure that it is what it was said to be.
func (u *builder) grow(ctx context.Context) error {
	size, base, err := lookAtFile(u.d, u.name, u.meta.Format)
	switch {
	case err != nil || base != u.content.From.Base:
		return fault.Errorf(fault.ImageRefused, "the image is refused: it was changed while it was copied")
	case size > u.meta.Size:
		return tooLarge(size, u.meta.Size)
	case size < u.meta.Size:
		if err := u.b.setSizeOf(ctx, u.d, u.name, u.meta, u.meta.Size, false, u.lock); err != nil {
			return err
		}
	}
	u.meta.Base = base
	u.meter.end()
	return nil
}

// convert makes the image by qemu-img from a source of another format, or with a base that is not here.
func (u *builder) convert(ctx context.Context) error {
	tool, err := u.b.tool()
	if err != nil {
		return err
	}
	from := u.content.From
	source := withBases(from.Path, qemu.Format(from.Format))
	if err := u.d.step.ask("qemu-img convert", u.name); err != nil {
		return err
	}
	if err := tool.Convert(ctx, source, u.image(), qemu.ConvertOptions{Progress: u.meter.program()}, u.lock); err != nil {
		return err
	}
	size, _, err := lookAtFile(u.d, u.name, u.meta.Format)
	if err != nil {
		return fault.FromOS("look at the converted image", err)
	}
	// Where qemu-img writes past the page cache, a raw image becomes a whole number of the file system's blocks: what
	// is too much of it is zeros.
	padded := u.meta.Format != volume.QCOW2 && size > u.meta.Size && size-sectors(from.Size) < maxPadding
	if size > u.meta.Size && !padded {
		return tooLarge(size, u.meta.Size)
	}
	if size != u.meta.Size {
		if err := u.b.setSizeOf(ctx, u.d, u.name, u.meta, u.meta.Size, false, u.lock); err != nil {
			return err
		}
	}
	u.meter.end()
	return nil
}

// maxPadding is the size of the largest block of a file system, in bytes.
const maxPadding = 64 << 10

// lookAtFile is lookAtImage for an image that need not have the name of its format.
func lookAtFile(d *dir, name string, format volume.Format) (size int64, base string, err error) {
	f, err := d.open(name, false)
	if err != nil {
		return 0, "", err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if format == volume.QCOW2 {
		return lookAtQCOW2(f)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	return info.Size(), "", nil
}

// need keeps the base image of that name until release.
func (u *builder) need(name string) error {
	if !u.b.hasBase(name) || !u.b.bases.pin(name) {
		return fault.Errorf(fault.VolumeDamaged, "the base image of the source is missing")
	}
	u.pinned = name
	d, err := u.b.pool.sub(baseName)
	if err != nil {
		return fault.FromOS("open the base images", err)
	}
	defer d.close()
	u.base, err = d.holdBase(name)
	return fault.FromOS("open the base image", err)
}

// copyFile copies the source's file: it shares the blocks if it can, else the alg copies. It does not change the size, but what it
// wrote is durable.
func (u *builder) copyFile(ctx context.Context) error {
	path := u.content.From.Path
	from, err := openSource(path)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // nothing was written
	info, err := from.Stat()
	if err != nil {
		return fault.FromOS("look at the image to copy", err)
	}
	to, err := u.d.openNew(u.name)
	if err != nil {
		return fault.FromOS("make the image", err)
	}
	defer func() { to.Close() }() //nolint:errcheck,gosec // fsync tells
	err = u.d.reflink(to, from)
	if errors.Is(err, errNoReflink) {
		if program, ok := copiers[u.content.Alg]; ok {
			to, err = u.copyBy(ctx, program, to, from, info.Size())
		} else {
			err = u.d.sparseCopy(ctx, to, from, info.Size(), u.meter)
		}
	}
	if err == nil {
		err = u.d.change("chmod", to, func(fd int) error { return unix.Fchmod(fd, 0o600) })
	}
	if err == nil {
		err = u.sync(to)
	}
	return err
}

// copyBy lets a program copy, and returns the file anew, since the program may have put another in its place.
func (u *builder) copyBy(ctx context.Context, program copier, to, from *os.File, size int64) (*os.File, error) {
	if err := u.d.step.ask(program.name, u.name); err != nil {
		return to, err
	}
	if err := program.run(ctx, u.content.From.Path, to, u.lock, size, u.meter); err != nil {
		return to, err
	}
	now, err := u.d.open(u.name, true)
	if err != nil {
		return to, fault.FromOS("open the copied image", err)
	}
	to.Close() //nolint:errcheck,gosec // fsync tells
	return now, u.d.digHoles(ctx, now, from, size)
}

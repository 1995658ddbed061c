package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// overlay makes a base image of the source, and the image an overlay of that.
func (u *builder) overlay(ctx context.Context) error {
	tool, err := u.b.tool()
	if err == nil {
		err = tool.Available()
	}
	if err != nil {
		return err
	}
	if name, ok := u.b.isBase(u.content.From); ok {
		if err := u.need(name); err != nil {
			return err
		}
		if err := u.create(ctx, volume.PreallocOff, name); err != nil {
			return err
		}
		u.meta.Base = name
		return nil
	}
	if err := u.b.openOwn(baseName); err != nil {
		return err
	}
	d, err := u.b.pool.sub(baseName)
	if err != nil {
		return fault.FromOS("open the base images", err)
	}
	defer d.close()
	t, err := d.newTemp()
	if err != nil {
		return err
	}
	defer t.release()
	ext, err := u.baseContent(ctx, t, u.meter.part(0, 2))
	if err != nil {
		return err
	}
	name, err := u.keepBase(ctx, d, t, ext)
	if err != nil {
		return err
	}
	if err := u.create(ctx, volume.PreallocOff, name); err != nil {
		return err
	}
	u.meta.Base = name
	return nil
}

// baseContent makes the temporary file t the base image's content, and returns the extension of its format.
func (u *builder) baseContent(ctx context.Context, t *temp, m *meter) (ext string, err error) {
	from := *u.content.From
	meta := volume.Meta{Format: volume.Raw, Size: sectors(from.Size)}
	if from.Format != string(qemu.Raw) {
		meta.Format = volume.QCOW2
	}
	from.Owned = from.Owned && u.adopt
	if from.Base != "" { // a base image needs none itself
		from.Pool = nil
	}
	base := &builder{
		b: u.b, d: t.d, name: t.name, meta: meta, lock: u.lock, adopt: u.adopt,
		content: volume.Content{From: &from, Alg: u.content.Alg, Progress: m.program()},
	}
	_, err = base.build(ctx)
	return "." + meta.Format.Ext(), err
}

// keepBase gives the content in t the name of its sum, for good, and keeps it until release. The same content
// may be there already.
func (u *builder) keepBase(ctx context.Context, d *dir, t *temp, ext string) (name string, err error) {
	f, err := t.d.open(t.name, true)
	if err != nil {
		return "", fault.FromOS("open the base image", err)
	}
	defer f.Close() //nolint:errcheck // fsync tells
	info, err := f.Stat()
	if err != nil {
		return "", fault.FromOS("look at the base image", err)
	}
	sum, err := sumSparse(ctx, f, info.Size(), u.meter.part(1, 2))
	if err != nil {
		return "", err
	}
	name = hex.EncodeToString(sum) + ext
	noteSource(f, u.content.From.Sum)
	if err := d.change("chmod", f, func(fd int) error { return unix.Fchmod(fd, 0o400) }); err != nil {
		return "", err
	}
	if err := d.fsync(f); err != nil {
		return "", err
	}
	u.b.bases.addPinned(name, info.Size(), u.content.From.Sum)
	u.pinned = name
	for {
		if err := d.link(t.name, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fault.FromOS("put the base image in place", err)
		}
		u.base, err = d.holdBase(name)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// Another server's sweeper removed it in between.
	}
	if err != nil {
		return "", fault.FromOS("open the base image", err)
	}
	if there, err := u.base.Stat(); err != nil || there.Size() != info.Size() {
		return "", fault.Errorf(fault.VolumeDamaged, "the pool has a base image of the same name and another size")
	}
	return name, d.sync(".")
}

// sumSparse returns the SHA-256 of a file's first size bytes, reading none of its holes.
func sumSparse(ctx context.Context, f *os.File, size int64, m *meter) ([]byte, error) {
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	zeros := make([]byte, 1<<20)
	at := int64(0)
	fill := func(end int64) error {
		for at < end {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n := min(end-at, int64(len(zeros)))
			sum.Write(zeros[:n])
			at += n
			m.of(at, size)
		}
		return nil
	}
	err := extents(ctx, f, size, func(off, n int64) error {
		if err := fill(off); err != nil {
			return err
		}
		if err := readInto(sum, f, off, n, buf); err != nil {
			return fault.FromOS("read the base image", err)
		}
		at = off + n
		m.of(at, size)
		return nil
	})
	if err == nil {
		err = fill(size)
	}
	return sum.Sum(nil), err
}

// readInto adds n bytes at off to the sum.
func readInto(sum hash.Hash, f *os.File, off, n int64, buf []byte) error {
	for n > 0 {
		m, err := f.ReadAt(buf[:min(n, int64(len(buf)))], off)
		sum.Write(buf[:m])
		off, n = off+int64(m), n-int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// The purposes that recovery knows. What another system calls its operations leads to none of the rules that need
// them, and to the others.
const (
	toConvert = "convert"
	toResize  = "resize"
	toReplace = "replace"
	toCompact = "compact"
)

// settle brings a volume, whose lock is held as lock, from whatever state a crash left it in into the one before or the one after
// the operation that was cut off. It changes nothing where nothing was cut off, and it may itself be cut off anywhere.
//
//   - .deleted in a volume that stands in the pool: it was not yet in the bin. Removed.
//   - temporary files that nobody holds: removed.
//   - an .ignore file: somebody was at work.
//   - Its purpose is convert: the image that meta.json does not name is half-made or left over. Removed.
//   - It tells sizes, so that it is a resize of ours, and the image is larger than meta.json says: growing was not
//     done, or shrinking was not finished. Cut.
//   - It tells of a new image that is in place, or the upload is the image: what was uploaded is that, and is removed.
//   - It tells how much was uploaded, and the upload is longer, since it was about to become the image: it is cut.
//   - Then meta.json gets the image's real size and base image, and the .ignore files go.
func (b *Backend) settle(ctx context.Context, d *dir, id volume.ID, inBin bool, c contents, lock *os.File) error {
	if c.deleted && !inBin {
		if err := d.remove(deletedName); err != nil {
			return err
		}
		if err := d.sync("."); err != nil {
			return err
		}
	}
	if err := d.sweepTemps(c.temps, true); err != nil {
		return err
	}
	if len(c.marks) == 0 {
		return nil
	}
	if !inBin { // what lies in the bin was whole when it came there
		if err := b.settleImage(ctx, d, id, c, lock); err != nil {
			return err
		}
	}
	for _, name := range c.marks {
		if err := d.remove(name); err != nil {
			return err
		}
	}
	b.cfg.Log.Info("volume recovered", slog.Any("volume", id), slog.Any("operations", c.marks))
	return nil
}

func (b *Backend) settleImage(ctx context.Context, d *dir, id volume.ID, c contents, lock *os.File) error {
	data, _, err := readSmall(int(d.fd.Fd()), metaName, volume.MaxMeta+1)
	if err != nil && !errors.Is(err, errNotRegular) {
		return fault.FromOS("read "+metaName, err)
	}
	m, err := volume.ParseMeta(data)
	if err != nil {
		return nil //nolint:nilerr // it is damaged, which is not for us to mend; whoever loads it is told
	}
	purposes := make([]string, len(c.marks))
	for i, name := range c.marks {
		purposes[i], _ = parseMarkName(name)
	}
	if slices.Contains(purposes, toConvert) {
		if err := d.removeOtherImages(m.Format, c.data); err != nil {
			return err
		}
	}
	// A power cut may take the .ignore file's content and leave its name. What was uploaded may be the image itself by
	// another name, and must not be written to as an upload.
	image := d.inode(dataName(m.Format))
	if d.replaced(c.marks, image) || image != 0 && image == d.inode(uploadName) {
		if err := d.remove(uploadName); err != nil {
			return err
		}
	} else if err := d.cutBack(c.marks); err != nil {
		return err
	}
	size, base, err := lookAtImage(int(d.fd.Fd()), m.Format)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	if m.Format == volume.RBD {
		if !slices.Contains(purposes, toResize) {
			return nil // the cluster need not be asked
		}
		if size, err = d.imageSize(dataName(m.Format)); err != nil {
			return err
		}
	}
	if slices.Contains(purposes, toResize) && m.Size > 0 {
		if size > m.Size && d.resized(c.marks, m.Size) {
			if err := b.setSize(ctx, d, m, m.Size, true, lock); err != nil {
				return err
			}
			size = m.Size
		}
		if m.Format == volume.QCOW2 {
			if err := b.repairLeaks(ctx, d, id, lock); err != nil {
				return err
			}
		}
	}
	if m.Size == 0 || size == m.Size && base == m.Base {
		return nil
	}
	m.Size, m.Base = size, base
	return d.replace(metaName, m.Encode())
}

// removeOtherImages removes the images that are not of the volume's format, if it has one that is.
func (d *dir) removeOtherImages(format volume.Format, names []string) error {
	if !slices.Contains(names, dataName(format)) {
		return nil
	}
	for _, f := range []volume.Format{volume.Raw, volume.QCOW2, volume.RBD} {
		if name := dataName(f); f != format && slices.Contains(names, name) {
			if err := d.remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// resized reports whether one of the .ignore files tells of a resize from or to size.
func (d *dir) resized(marks []string, size int64) bool {
	for _, name := range marks {
		if m, ok := d.readMark(name); ok && m.After > 0 && (m.Before == size || m.After == size) {
			return true
		}
	}
	return false
}

// replaced reports whether one of the .ignore files tells of a new image with that inode.
func (d *dir) replaced(marks []string, inode uint64) bool {
	for _, name := range marks {
		if m, ok := d.readMark(name); ok && m.Image > 0 && m.Image == inode {
			return true
		}
	}
	return false
}

// cutBack cuts an upload to what one of the .ignore files says that it was.
func (d *dir) cutBack(marks []string) error {
	for _, name := range marks {
		if m, ok := d.readMark(name); ok && m.Purpose == toReplace && m.Before > 0 {
			return d.cutUpload(m.Before)
		}
	}
	return nil
}

// cutUpload takes from an upload what it grew by when it was to become the image. There may be none.
func (d *dir) cutUpload(received int64) error {
	f, err := d.open(uploadName, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.FromOS("open the upload", err)
	}
	defer f.Close() //nolint:errcheck // it need not survive a power cut
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fault.FromOS("look at the upload", err)
	}
	if st.Size <= received || st.Nlink > 1 { // the other name may be the image's, where that could not be taken back
		return nil
	}
	return d.truncate(f, received)
}

// inode returns the inode of a file, 0 where there is none.
func (d *dir) inode(name string) uint64 {
	info, err := d.root.Lstat(name)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

// repairLeaks gives free what a killed qemu-img took and did not use. That costs room and no data, so it is no
// reason to refuse the volume.
func (b *Backend) repairLeaks(ctx context.Context, d *dir, id volume.ID, lock *os.File) error {
	tool, err := b.tool()
	if err != nil {
		return nil //nolint:nilerr // another server, with qemu-img, may do it
	}
	r, err := tool.Check(ctx, qemuFile(d, dataName(volume.QCOW2), qemu.QCOW2), true, lock)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		b.cfg.Log.Warn("image not checked", slog.Any("volume", id), slog.Any("error", err))
	case !r.OK():
		b.cfg.Log.Error("image damaged", slog.Any("volume", id), slog.Any("corruptions", r.Corruptions), slog.Any("errors", r.Errors))
	}
	return nil
}

// settleAlone takes the lock of a volume that a crash left behind, without waiting for this process's own
// operations, and settles it. ok is false if somebody else still holds it, or this process does.
func (b *Backend) settleAlone(ctx context.Context, in string, id volume.ID) (ok bool, err error) {
	k := b.locks.use(id)
	defer b.locks.leave(id, k)
	select {
	case <-k.turn:
		defer func() { k.turn <- struct{}{} }()
	default:
		return true, nil // what lies there is our own operation's
	}
	d, err := b.pool.volume(in, id)
	if err != nil {
		return false, err
	}
	defer d.close()
	if !b.locks.join(k, nil) {
		lock, err := d.flock(ctx)
		if errors.Is(err, errHeld) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		b.locks.join(k, lock)
	}
	defer b.locks.part(k)
	if now, err := b.pool.volume(in, id); err != nil || !now.same(d) {
		if err == nil {
			now.close()
		}
		return false, fs.ErrNotExist
	} else {
		now.close()
	}
	c, err := d.contents()
	if err != nil {
		return false, err
	}
	return true, b.settle(ctx, d, id, b.inBinNow(d, in), c, k.file)
}

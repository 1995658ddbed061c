package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// look reads the volume whose directory is open as fd: its meta.json, its image's size, and whether it is fit
// for use. The error is only that it is no volume, or is being changed under our eyes: os.ErrNotExist. bases tells which base images there are.
//
// Scan calls it for every volume of the pool, so it makes few system calls and none that waits.
func look(fd int, id volume.ID, bases func(name string) bool) (volume.Found, error) {
	f := volume.Found{ID: id}
	data, changed, err := readSmall(fd, metaName, volume.MaxMeta+1)
	f.Changed = changed
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, err
	case err != nil:
		return damaged(f, metaName, err), nil
	}
	if f.Meta, err = volume.ParseMeta(data); err != nil {
		return damaged(f, metaName, err), nil
	}
	size, base, err := lookAtImage(fd, f.Meta.Format)
	if errors.Is(err, fs.ErrNotExist) {
		// A conversion removes the old image when meta.json no longer names it.
		if again, _, rerr := readSmall(fd, metaName, volume.MaxMeta+1); rerr != nil || string(again) != string(data) {
			return f, fs.ErrNotExist
		}
		err = errors.New("it is missing")
	}
	switch {
	case err != nil:
		return damaged(f, dataName(f.Meta.Format), err), nil
	case size > volume.MaxSize:
		return damaged(f, dataName(f.Meta.Format), fault.Errorf(fault.VolumeDamaged, "its size of %d bytes is over %d", size, int64(volume.MaxSize))), nil
	case f.Meta.Format == volume.RBD && f.Meta.Size <= 0:
		return damaged(f, metaName, errors.New("it does not say the size, which nothing else here does for an image on a Ceph cluster")), nil
	case f.Meta.Format == volume.RBD:
		size, f.Meta.Base = f.Meta.Size, ""
	case base == "":
		f.Meta.Base = "" // one that was compacted, if the old name was not yet dropped
	case base != f.Meta.Base:
		return damaged(f, dataName(f.Meta.Format), errors.New("it needs a base image that meta.json does not name")), nil
	case !bases(base):
		return damaged(f, dataName(f.Meta.Format), errors.New("its base image is missing")), nil
	}
	f.Meta.Size = size // what there is counts; doctor reports a meta.json that says otherwise
	return f, nil
}

// damaged says why a volume can't be used.
func damaged(f volume.Found, name string, err error) volume.Found {
	f.Problem = fault.Errorf(fault.VolumeDamaged, "volume %s is damaged: %s: %s", f.ID, name, reason(err))
	return f
}

// reason is what err says without a path, which is not the caller's to know.
func reason(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// readSmall reads a regular file of less than limit bytes, and says when it was written.
func readSmall(dirfd int, name string, limit int) (data []byte, changed time.Time, err error) {
	fd, st, err := openStat(dirfd, name)
	if err != nil {
		return nil, changed, err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	changed = time.Unix(st.Mtim.Unix()).UTC()
	// What grows while it is read is longer than it was: reading to its end would take a second call for every file.
	buf := make([]byte, min(st.Size, int64(limit)))
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, changed, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return buf[:n], changed, nil
}

// openStat opens a regular file for reading without following a link.
func openStat(dirfd int, name string) (fd int, st unix.Stat_t, err error) {
	fd, err = unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return -1, st, errNotRegular
	case err != nil:
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	if err != nil {
		unix.Close(fd) //nolint:errcheck,gosec // nothing was written
		return -1, st, err
	}
	return fd, st, nil
}

// lookAtImage returns the virtual size of an image and the name of the base image that it needs, if it needs one.
func lookAtImage(dirfd int, format volume.Format) (size int64, base string, err error) {
	switch format {
	case volume.Raw, volume.ISO, volume.RBD: // whose size, of the last, is not here
		var st unix.Stat_t
		if err := unix.Fstatat(dirfd, dataName(format), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return 0, "", err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return 0, "", errNotRegular
		}
		return st.Size, "", nil
	case volume.QCOW2:
		fd, _, err := openStat(dirfd, dataName(format))
		if err != nil {
			return 0, "", err
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		return lookAtQCOW2(preader(fd))
	}
	return 0, "", fmt.Errorf("its format %q is unknown", format)
}

// preader reads at offsets of a descriptor.
type preader int

func (fd preader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		m, err := unix.Pread(int(fd), p[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, err
		case m == 0:
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// lookAtQCOW2 refuses what would make QEMU open other files than the base images of the pool.
func lookAtQCOW2(r io.ReaderAt) (size int64, base string, err error) {
	h, err := qemu.Header(r)
	if err != nil {
		return 0, "", err
	}
	switch {
	case h.CryptMethod != 0:
		return 0, "", errors.New("it is encrypted")
	case h.DataFile != "" || h.Incompatible&qemu.IncompatibleDataFile != 0:
		return 0, "", errors.New("its data is in another file")
	case h.Incompatible&qemu.IncompatibleCorrupt != 0:
		return 0, "", errors.New("QEMU found it corrupt")
	case h.BackingFile == "":
		return h.VirtualSize, "", nil
	}
	base, ok := cutBase(h.BackingFile)
	format, known := parseBaseName(base)
	if !ok || !known {
		return 0, "", errors.New("it needs a file that is no base image of the pool")
	}
	if h.BackingFormat != format {
		return 0, "", errors.New("it does not say its base image's format")
	}
	return h.VirtualSize, base, nil
}

// cutBase returns the name of the base image in the name by which an overlay's image knows it.
func cutBase(backing string) (string, bool) {
	if len(backing) < len(basePath) || backing[:len(basePath)] != basePath {
		return "", false
	}
	return backing[len(basePath):], true
}

// deletion is the content of .deleted.
type deletion struct {
	Time time.Time `json:"time"`
}

// maxSmall is how much is read of files that hold a few words, in bytes.
const maxSmall = 64 << 10

// lookInBin adds to f when the volume whose directory is open as fd was deleted. One that was moved into the bin by
// hand was deleted when its directory last changed.
func lookInBin(fd int, f volume.Found) volume.Found {
	data, changed, err := readSmall(fd, deletedName, maxSmall)
	var d deletion
	switch {
	case err == nil && json.Unmarshal(data, &d) == nil && !d.Time.IsZero():
		f.Trashed = d.Time.UTC()
	case err == nil:
		f.Trashed = changed
	default:
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			f.Trashed = time.Unix(st.Ctim.Unix()).UTC() // which the rename changed
		}
	}
	if f.Trashed.IsZero() {
		f.Trashed = time.Unix(0, 0).UTC()
	}
	return f
}

// lookAtISO returns the isotype that an isoinfo.json says, or "".
func lookAtISO(fd int) string {
	data, _, err := readSmall(fd, isoName, maxSmall)
	if err != nil {
		return ""
	}
	return parseISOType(data)
}

func parseISOType(data []byte) string {
	var info struct {
		Type string `json:"isotype"`
	}
	if json.Unmarshal(data, &info) != nil || len(info.Type) > 64 {
		return ""
	}
	return info.Type
}

// load reads the volume in d.
func (b *Backend) load(d *dir, id volume.ID, inBin bool) (f volume.Found, err error) {
	fd := int(d.fd.Fd())
	for range 3 { // it is converted at this moment, and soon is not
		if f, err = look(fd, id, b.hasBase); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return f, fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", id, os.ErrNotExist)
	}
	f = b.clustered(f)
	b.bases.seen(f)
	f.Records = d.has(volume.RecordsDir)
	if f.Meta.Format == volume.ISO {
		f.ISOType = lookAtISO(fd)
	}
	if inBin {
		f = lookInBin(fd, f)
	}
	return f, nil
}

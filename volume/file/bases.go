package file

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/qemu"
)

// bases are the base images of the pool, and who needs them. Its methods may be called at the same time. mu is held
// while a base image is removed, so that none goes that somebody has just begun to use.
type bases struct {
	mu    sync.Mutex
	m     map[string]*base
	of    map[volume.ID]string // what each volume needs, the other way round
	scan  int                  // counts the scans
	blind bool                 // a volume is there that doesn't say what it needs: nothing is removed
}

type base struct {
	size  int64             // of its file in bytes; 0 where it is missing
	pins  int               // stages and copies that are about to need it
	users map[volume.ID]int // the volumes that need it, and the scan that last saw that
	of    *volume.Checksum  // of what it was made of, where that is known; see sourceAttribute
}

// add makes a base image known.
func (b *bases) add(name string, size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.get(name).size = size
}

func (b *bases) get(name string) *base {
	e := b.m[name]
	if e == nil {
		if b.m == nil {
			b.m = map[string]*base{}
		}
		e = &base{users: map[volume.ID]int{}}
		b.m[name] = e
	}
	return e
}

// has reports whether a base image of that name is known.
func (b *bases) has(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[name] != nil && b.m[name].size > 0
}

// pin keeps a base image that is known until unpin.
func (b *bases) pin(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.m[name]
	if e == nil || e.size == 0 {
		return false
	}
	e.pins++
	return true
}

// addPinned makes a base image known that is about to be there, made of what has a checksum if that is not nil, and keeps it until
// unpin.
func (b *bases) addPinned(name string, size int64, of *volume.Checksum) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.get(name)
	e.size = size
	if of != nil {
		e.of = of
	}
	e.pins++
}

// madeOf reports whether a base image is known to be made of what has a checksum.
func (b *bases) madeOf(name string, sum *volume.Checksum) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.m[name]
	return e != nil && e.of != nil && e.of.Algorithm == sum.Algorithm && bytes.Equal(e.of.Sum, sum.Sum)
}

func (b *bases) unpin(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.m[name]; e != nil {
		e.pins--
	}
}

// uses notes that a volume needs the base image of that name and no other, and returns the one that it needed before;
// "" is none.
func (b *bases) uses(id volume.ID, name string) (before string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before = b.of[id]
	if before != "" && before != name {
		delete(b.get(before).users, id)
		delete(b.of, id)
	}
	if name != "" {
		if b.of == nil {
			b.of = map[volume.ID]string{}
		}
		b.of[id] = name
		b.get(name).users[id] = b.scan
	}
	return before
}

// seen notes what a volume needs that may have come since the last scan, by hand or from another server. What it does not
// need any more is for whoever changes it to say.
func (b *bases) seen(f volume.Found) {
	switch {
	case f.Problem != nil:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.blind = true
	case f.Meta.Base != "":
		b.uses(f.ID, f.Meta.Base)
	}
}

// sizeOf returns the bytes of the base image of that name, 0 where there is none.
func (b *bases) sizeOf(name string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.m[name]; e != nil {
		return e.size
	}
	return 0
}

// bytes returns the bytes of all.
func (b *bases) bytes() (sum int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.m {
		sum += e.size
	}
	return sum
}

// begin begins a scan: who is not seen in it needs nothing any more, unless it began to during the scan.
func (b *bases) begin(there map[string]int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scan++
	for name, size := range there {
		b.get(name).size = size
	}
	for name, e := range b.m {
		if _, ok := there[name]; !ok && e.pins == 0 {
			e.size = 0 // its users, if any, are damaged
		}
	}
}

// end ends a scan and returns the base images that nobody needs.
func (b *bases) end(blind bool) (unused []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blind = blind
	for name, e := range b.m {
		for id, seen := range e.users {
			if seen < b.scan {
				delete(e.users, id)
				delete(b.of, id)
			}
		}
		if len(e.users) == 0 {
			unused = append(unused, name)
		}
	}
	return unused
}

// drop removes the base image of that name by remove if nobody needs it. Where others make and remove volumes too, which of its known
// users there still are is for needed to say.
func (b *bases) drop(name string, needed func(known []volume.ID) bool, remove func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.m[name]
	if e == nil || e.pins > 0 || b.blind || needed(slices.Collect(maps.Keys(e.users))) {
		return nil
	}
	if err := remove(); err != nil {
		return err
	}
	for id := range e.users {
		delete(b.of, id)
	}
	delete(b.m, name)
	return nil
}

// listBases reads which base images the pool has. One that needs a file itself is none: it was put there by hand,
// and QEMU would open whatever it names.
func (b *Backend) listBases() (map[string]int64, error) {
	there := map[string]int64{}
	d, err := b.pool.sub(baseName)
	if missing(err) {
		return there, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := parseBaseName(name); !ok {
			continue
		}
		size, err := lookAtBase(d, name)
		if err != nil {
			b.cfg.Log.Warn("base image ignored", slog.Any("pool", b.pool.path), slog.Any("base", name), slog.Any("error", err))
			continue
		}
		there[name] = size
	}
	return there, nil
}

// hasBase reports whether the pool has a base image of that name. Another server of a shared pool may have made it.
func (b *Backend) hasBase(name string) bool {
	if b.bases.has(name) {
		return true
	}
	d, err := b.pool.sub(baseName)
	if err != nil {
		return false
	}
	defer d.close()
	size, err := lookAtBase(d, name)
	if err != nil {
		return false
	}
	b.bases.add(name, size)
	return true
}

// Base names the base image with that SHA-256, or that was made of an image with that checksum.
func (b *Backend) Base(sum volume.Checksum) (volume.Image, bool) {
	d, err := b.pool.sub(baseName)
	if err != nil {
		return volume.Image{}, false
	}
	defer d.close()
	for _, name := range b.candidates(d, sum) {
		if !b.hasBase(name) {
			continue
		}
		format, _ := parseBaseName(name)
		img := volume.Image{Path: filepath.Join(d.path, name), Format: format, Pool: b, Size: b.bases.sizeOf(name)}
		img.OnDisk = img.Size
		if format == string(qemu.QCOW2) {
			if img.Size, _, err = lookAtFile(d, name, volume.QCOW2); err != nil {
				return volume.Image{}, false
			}
		}
		return img, true
	}
	return volume.Image{}, false
}

// candidates returns the names of base images that have a checksum or say that they were made of an image that had it. They need
// not be there.
func (b *Backend) candidates(d *dir, sum volume.Checksum) (names []string) {
	if sum.Algorithm == "sha256" {
		digits := hex.EncodeToString(sum.Sum)
		names = append(names, digits+".img", digits+".qcow2")
	}
	all, err := d.names()
	if err != nil {
		return names
	}
	for _, name := range all {
		if _, ok := parseBaseName(name); ok && (b.bases.madeOf(name, &sum) || madeOf(d, name, &sum)) {
			names = append(names, name)
		}
	}
	return names
}

// sourceAttribute begins the name of the extended attribute of a base image that has a checksum of what it was made of; the
// algorithm follows. It goes with the file. Where the file system has no such attributes only the server that made the image knows.
const sourceAttribute = "user.elstore.source."

// noteSource notes what a base image in the making is made of.
func noteSource(f *os.File, sum *volume.Checksum) {
	if sum != nil {
		_ = unix.Fsetxattr(int(f.Fd()), sourceAttribute+sum.Algorithm, sum.Sum, 0)
	}
}

// madeOf reports whether a base image was made of an image with that checksum.
func madeOf(d *dir, name string, sum *volume.Checksum) bool {
	f, err := d.open(name, false)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	value := make([]byte, len(sum.Sum)+1)
	n, err := unix.Fgetxattr(int(f.Fd()), sourceAttribute+sum.Algorithm, value)
	return err == nil && bytes.Equal(value[:n], sum.Sum)
}

// isBase returns the name of the pool's own base image that img is.
func (b *Backend) isBase(img *volume.Image) (name string, ok bool) {
	dir, name := filepath.Split(img.Path)
	_, ok = parseBaseName(name)
	return name, ok && img.Pool == volume.Backend(b) && filepath.Clean(dir) == filepath.Join(b.pool.path, baseName)
}

func lookAtBase(d *dir, name string) (int64, error) {
	f, err := d.open(name, false)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if format, _ := parseBaseName(name); format == string(qemu.QCOW2) {
		if _, needs, err := lookAtQCOW2(f); err != nil || needs != "" {
			return 0, errors.Join(err, errors.New("it needs another file"))
		}
	}
	return info.Size(), nil
}

// dropBase removes a base image that no volume needs any more. Another server of a shared pool may need it: it
// holds the image's flock while it makes a volume that does, and afterwards the volume says so.
func (b *Backend) dropBase(name string) error {
	needed := func(known []volume.ID) bool { return len(known) > 0 }
	if b.cfg.Shared {
		needed = func(known []volume.ID) bool {
			return slices.ContainsFunc(known, func(id volume.ID) bool { return b.needs(id, name) })
		}
	}
	return b.bases.drop(name, needed, func() error {
		d, err := b.pool.sub(baseName)
		if err != nil {
			return ignoreMissing(err)
		}
		defer d.close()
		f, err := d.open(name, false)
		if err != nil {
			return ignoreMissing(err)
		}
		defer unlock(f)
		if err := flockNow(f, unix.LOCK_EX); err != nil {
			return err
		}
		if b.cfg.Shared && b.needed(name) {
			return errHeld
		}
		if err := d.remove(name); err != nil {
			return err
		}
		return d.sync(".")
	})
}

// needed reads all volumes to see whether one needs the base image of that name.
func (b *Backend) needed(name string) bool {
	for _, in := range []string{".", binName} {
		names, err := b.pool.namesIn(in)
		if err != nil {
			return true
		}
		for _, n := range names {
			if id, ok := parseVolumeName(n); ok && b.needs(id, name) {
				return true
			}
		}
	}
	return false
}

// needs reports whether a volume, in its place or in the bin, needs the base image of that name. One that can't be
// looked at may.
func (b *Backend) needs(id volume.ID, name string) bool {
	for _, in := range []string{".", binName} {
		d, err := b.pool.volume(in, id)
		if missing(err) {
			continue
		}
		if err != nil {
			return true
		}
		f, err := look(int(d.fd.Fd()), id, func(string) bool { return true })
		d.close()
		if err == nil && (f.Problem != nil || f.Meta.Base == name) {
			return true
		}
	}
	return false
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// holdBase opens a base image and holds its flock together with others, until it is closed. It fails with
// os.ErrNotExist if the image is not there.
func (d *dir) holdBase(name string) (*os.File, error) {
	f, err := d.open(name, false)
	if err != nil {
		return nil, err
	}
	if err := flockNow(f, unix.LOCK_SH); err != nil || !linked(f) {
		unlock(f)
		return nil, fs.ErrNotExist // as good as: who holds it removes it
	}
	return f, nil
}

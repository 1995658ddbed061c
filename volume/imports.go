package volume

import (
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"elstore/volume/fault"
)

// Fetcher downloads what a URL names. volume/fetch satisfies it through cmd.
type Fetcher interface {
	// Download writes the content of url into f, which is empty, and returns its length. It fails with FetchFailed or
	// FetchForbidden.
	Download(ctx context.Context, url string, f *os.File, p Progress) (int64, error)
}

// Inspector looks at an image from outside before QEMU does. volume/qemu satisfies it through cmd.
type Inspector interface {
	// Inspect tells the format and the virtual size of the image in f, or refuses it with ImageRefused: a
	// format other than the one said ("" is any), a backing file, an external data file, encryption, damage, unknown features.
	Inspect(ctx context.Context, f *os.File, format string) (Image, error)
}

// ISOInspector looks at what is to be the content of an ISO volume. iso.Inspector satisfies it through cmd.
type ISOInspector interface {
	// InspectISO tells the size of the image in f, or refuses it with ImageRefused. info is the volume's isoinfo.json; it
	// is returned with what the image tells and nobody has said.
	InspectISO(ctx context.Context, f *os.File, info []byte) (img Image, completed []byte, err error)
}

// Source is where an image from outside comes from: exactly one of Path, URL and Body.
type Source struct {
	Path string    // a file under one of Config.ImportDirs
	URL  string    // http or https
	Body io.Reader // what a client sends

	Length   int64     // of Body in bytes, -1 where it is not known
	Format   string    // QEMU's name of the image's format, "" to find out
	Checksum *Checksum // what the source's bytes must sum up to, or nil
	Cached   bool      // take a base image of the pool with that Checksum in its place, if there is one
	Overlay  bool      // keep the image as an immutable base of the pool and make the volume an overlay of it
}

// Import makes a volume of an image from outside. Without a size the volume gets the image's. It is in its place when it
// is whole, inspected and its checksum right; until then nothing of it is to be seen.
func (s *Service) Import(ctx context.Context, n NewVolume, src Source, p Progress) (Volume, error) {
	if err := n.Check(); err != nil {
		return Volume{}, err
	}
	if s.cfg.Inspect == nil || n.Meta.Format == ISO && s.cfg.ISO == nil {
		return Volume{}, fault.Errorf(fault.ImageToolMissing, "this server can't import images")
	}
	if src.Overlay && n.Meta.Format != QCOW2 {
		return Volume{}, fault.Errorf(fault.VolumeFormatNotAllowed, "an overlay has format qcow2, not %q", n.Meta.Format)
	}
	if err := src.Checksum.check(); err != nil {
		return Volume{}, err
	}
	data, err := s.openSource(src)
	if err != nil {
		return Volume{}, err
	}
	defer data.close()
	// Only the arrival is known yet; what the image itself needs is reserved when it has been seen.
	w := Want{Pool: n.Pool, Volumes: 1, Size: n.Meta.Size, Bytes: n.Meta.Size, Write: max(data.length, 0) + metadataRoom, Format: n.Meta.Format}
	return s.make(ctx, &n, w, func(ctx context.Context, mk *making) (Meta, error) {
		if base, ok := cached(mk.at.backend, src); ok {
			rooms := len(mk.rooms)
			m, err := s.adopt(ctx, mk, n, base, src.Overlay, p)
			if err == nil || ctx.Err() != nil {
				return m, err
			}
			// It went at this moment, or doesn't fit, which the image itself will tell.
			for _, r := range mk.rooms[rooms:] {
				r.Release()
			}
			mk.rooms, mk.bytes = mk.rooms[:rooms], mk.bytes[:rooms]
		}
		f, err := mk.stage.Incoming()
		if err != nil {
			return Meta{}, err
		}
		defer f.Close()
		steps := newSteps(p, 2)
		if err := s.arrive(ctx, mk.at, data, f, steps.next()); err != nil {
			return Meta{}, err
		}
		mk.rooms[0].Wrote()
		if err := src.Checksum.verify(ctx, f); err != nil {
			return Meta{}, err
		}
		img, err := s.inspect(ctx, f, &n, src.Format)
		if err != nil {
			return Meta{}, err
		}
		img.Owned, img.Sum = true, src.Checksum
		return s.adopt(ctx, mk, n, img, src.Overlay, steps.next())
	})
}

// cached returns the base image of a pool that is what src names.
func cached(b Backend, src Source) (Image, bool) {
	if !src.Cached || src.Checksum == nil {
		return Image{}, false
	}
	img, ok := b.Base(*src.Checksum)
	return img, ok && (src.Format == "" || src.Format == img.Format)
}

// inspect looks at what has arrived for a new volume.
func (s *Service) inspect(ctx context.Context, f *os.File, n *NewVolume, format string) (img Image, err error) {
	if n.Meta.Format != ISO {
		return s.cfg.Inspect.Inspect(ctx, f, format)
	}
	info := n.Files[ISOInfoFile]
	img, info, err = s.cfg.ISO.InspectISO(ctx, f, info)
	if err == nil && len(info) > 0 {
		n.Files = maps.Clone(n.Files)
		n.Files[ISOInfoFile] = info
	}
	return img, err
}

// roomStep is how much arrives between two looks at the file system's free space, in bytes.
const roomStep = 64 << 20

// arrive takes in data whose length nobody vouches for, and stops it before it eats the room that the pool keeps free.
func (s *Service) arrive(ctx context.Context, at *attached, data arrival, f *os.File, p Progress) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := max(data.length, 0) + roomStep // what was announced is reserved
	return data.into(ctx, f, func(done, total int64) {
		if p != nil {
			p(done, max(done, total))
		}
		if done < next {
			return
		}
		next = done + roomStep
		rooms, err := s.cfg.Pools.Reserve(ctx, []Want{{Pool: at.pool.Name(), Write: roomStep}}, nil)
		if err != nil {
			stop(err)
			return
		}
		rooms[0].Release()
	})
}

// adopt makes a stage's content of an image that has arrived and was found good.
func (s *Service) adopt(ctx context.Context, mk *making, n NewVolume, img Image, overlay bool, p Progress) (Meta, error) {
	reserved := n.Meta.Size
	img.Size = (img.Size + SectorSize - 1) / SectorSize * SectorSize
	switch {
	case n.Meta.Size == 0:
		n.Meta.Size = img.Size
	case n.Meta.Size < img.Size:
		return Meta{}, fault.Errorf(fault.VolumeDimensionNotUpdatable,
			"the image has %d bytes and doesn't fit into %d; leave size out or make it larger", img.Size, n.Meta.Size)
	}
	bytes := n.Meta.Size - reserved
	base := int64(0) // of a base image, which counts by itself as soon as it is there
	if overlay && img.Owned {
		base = img.OnDisk
	}
	write := int64(metadataRoom)
	asIs := img.Format == string(n.Meta.Format) || n.Meta.Format == ISO || overlay && img.Format == string(Raw)
	switch {
	case img.Owned && asIs: // it is moved into its place
	case !img.Owned && overlay: // it is a base image, and only named
	default:
		write += img.OnDisk
	}
	rooms, err := s.cfg.Pools.Reserve(ctx, []Want{{
		Pool: mk.at.pool.Name(), Size: n.Meta.Size, Bytes: bytes + base, Write: write, Format: n.Meta.Format,
	}}, s.emptyOldest)
	if err != nil {
		return Meta{}, err
	}
	mk.rooms, mk.bytes = append(mk.rooms, rooms[0]), append(mk.bytes, bytes)
	return mk.stage.Fill(ctx, n.Meta, Content{From: &img, Overlay: overlay, Alg: n.Meta.Alg, Progress: p})
}

// arrival is data on its way in.
type arrival struct {
	length int64 // -1 where it is not known
	into   func(ctx context.Context, f *os.File, p Progress) error
	close  func()
}

// openSource checks where an image comes from, before anything is made for it.
func (s *Service) openSource(src Source) (arrival, error) {
	switch {
	case src.URL != "":
		if s.cfg.Fetch == nil {
			return arrival{}, fault.Errorf(fault.FetchForbidden, "this server fetches no URLs")
		}
		return arrival{length: -1, close: func() {}, into: func(ctx context.Context, f *os.File, p Progress) error {
			_, err := s.cfg.Fetch.Download(ctx, src.URL, f, p)
			return err
		}}, nil
	case src.Path != "":
		f, size, err := s.openImport(src.Path)
		if err != nil {
			return arrival{}, err
		}
		return arrival{length: size, close: func() { _ = f.Close() }, into: func(ctx context.Context, to *os.File, p Progress) error {
			return copyInto(ctx, to, f, size, p)
		}}, nil
	case src.Body != nil:
		return arrival{length: src.Length, close: func() {}, into: func(ctx context.Context, f *os.File, p Progress) error {
			return copyInto(ctx, f, src.Body, src.Length, p)
		}}, nil
	}
	return arrival{}, fault.Errorf(fault.BadRequest, "an import needs url or path")
}

// ReadImport returns the first limit bytes of a file that could be imported: one under Config.ImportDirs.
func (s *Service) ReadImport(path string, limit int64) ([]byte, error) {
	f, _, err := s.openImport(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return data, fault.FromOS("read "+filepath.Base(path), err)
}

// openImport opens a regular file under one of the directories that the configuration allows, whatever links
// and dots its path has.
func (s *Service) openImport(path string) (*os.File, int64, error) {
	forbidden := func(why string) error {
		return fault.Errorf(fault.FetchForbidden, "path %.200q %s; allowed are regular files under %q", path, why, s.cfg.ImportDirs)
	}
	if len(s.cfg.ImportDirs) == 0 {
		return nil, 0, fault.Errorf(fault.FetchForbidden, "this server imports no files: its configuration (import-dir) allows no directory")
	}
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, 0, forbidden("is not absolute")
	}
	for _, dir := range s.cfg.ImportDirs {
		rel, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, 0, forbidden("is in a directory that can't be opened")
		}
		defer root.Close()
		info, err := root.Stat(rel) // before opening, since opening a FIFO would wait for ever
		if err != nil || !info.Mode().IsRegular() {
			return nil, 0, forbidden("is not there or not a regular file")
		}
		f, err := root.OpenFile(rel, os.O_RDONLY|openNonblock, 0)
		if err != nil {
			return nil, 0, forbidden("can't be opened")
		}
		if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
			_ = f.Close()
			return nil, 0, forbidden("is not a regular file")
		}
		return f, info.Size(), nil
	}
	return nil, 0, forbidden("is not under a directory that the configuration allows")
}

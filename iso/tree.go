package iso

import (
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	"elstore/volume/fault"
)

// Bounds on what is read of a tree. The largest distribution images have some ten thousand files.
const (
	maxDirectory = 16 << 20  // bytes of one directory
	maxTree      = 256 << 20 // bytes of all directories and system use: they may overlap, and be read more than once
	maxEntries   = 1 << 18   // files and directories in all
	maxNames     = 32 << 20  // bytes of the paths and links of all
	maxDepth     = 64
)

// File is a file, directory or symbolic link in an image.
type File struct {
	Path string // from the root, without a slash in front: "boot/vmlinuz"
	Size int64  // in bytes; of a directory 0
	Dir  bool
	Link string // where a symbolic link leads, else ""

	isLink  bool
	extents []node
}

// Walk calls fn for every file and directory but the root, each directory before what is in it, in the image's order. It refuses trees that loop,
// lie beyond the image's end, or are larger or deeper than any real one. fn's error ends it.
func (im *Image) Walk(ctx context.Context, fn func(File) error) error {
	if im.root.length == 0 {
		return refuse("it has a UDF file system only, whose files can't be listed")
	}
	return newWalker(im, im.root, fn).directory(ctx, "", im.root, 0)
}

// Below is Walk for what is in one directory; without deep only what is directly in it. The root of an image that is UDF alone has nothing
// that can be listed.
func (im *Image) Below(ctx context.Context, dir File, deep bool, fn func(File) error) error {
	switch {
	case im.root.length == 0 && dir.Path == "":
		return nil
	case !dir.Dir:
		return fault.Errorf(fault.BadRequest, "%.200q is a file, not a directory", dir.Path)
	case len(dir.extents) == 0:
		dir.extents = []node{im.root}
	}
	at := dir.extents[0]
	w := newWalker(im, at, fn)
	if !deep {
		return w.im.readDir(ctx, dir.Path, at, func(f File) error {
			if err := w.count(&f); err != nil {
				return err
			}
			return fn(f)
		})
	}
	return w.directory(ctx, dir.Path, at, 0)
}

// IsLink reports whether it is a symbolic link.
func (f *File) IsLink() bool { return f.isLink }

// Offset is the logical block at which the content begins.
func (f *File) Offset() int64 {
	if len(f.extents) == 0 {
		return 0
	}
	return int64(f.extents[0].extent)
}

// Check walks the whole tree, and refuses an image in which anything is not where it is said to be. An image that is UDF
// alone is taken as it is.
func (im *Image) Check(ctx context.Context) error {
	if im.root.length == 0 && im.UDF {
		return nil
	}
	return im.Walk(ctx, func(File) error { return nil })
}

// Find returns the file at a path from the root, "" for the root itself. Letters of either case match where the image has
// plain ISO 9660 names, which are upper-case. os.ErrNotExist is not used: the error is a fault of code NoSuchPath.
func (im *Image) Find(ctx context.Context, name string) (File, error) {
	return im.find(ctx, name, 0)
}

// find follows up to links symbolic links.
func (im *Image) find(ctx context.Context, name string, links int) (File, error) {
	if im.root.length == 0 {
		return File{}, refuse("it has a UDF file system only, whose files can't be read")
	}
	root := File{Dir: true, extents: []node{im.root}}
	at, rest := root, strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		next, err := im.child(ctx, at, part)
		if err != nil {
			return File{}, err
		}
		if next == nil {
			return File{}, fault.Errorf(fault.NoSuchPath, "the image has no file %.200q", name)
		}
		if next.isLink && links > 0 {
			links--
			to := next.Link
			if !strings.HasPrefix(to, "/") {
				to = path.Join("/", at.Path, to)
			}
			at, rest = root, append(strings.Split(path.Clean(to), "/"), rest...)
			continue
		}
		at = *next
	}
	return at, nil
}

// maxLinks bounds how many symbolic links are followed for one path.
const maxLinks = 16

// Follow is Find that goes where symbolic links on the path lead, inside the image.
func (im *Image) Follow(ctx context.Context, name string) (File, error) {
	return im.find(ctx, name, maxLinks)
}

// child returns the entry of that name in a directory, or nil.
func (im *Image) child(ctx context.Context, dir File, name string) (found *File, err error) {
	if !dir.Dir {
		return nil, nil //nolint:nilnil // what is in a file is not there
	}
	err = im.readDir(ctx, dir.Path, dir.extents[0], func(f File) error {
		base := path.Base(f.Path)
		if base == name || found == nil && !im.RockRidge && strings.EqualFold(base, name) {
			found = &f
		}
		return nil
	})
	return found, err
}

// Open returns the content of a file, which can be read at any place and from several goroutines.
func (im *Image) Open(f File) (*io.SectionReader, error) {
	if f.Dir || f.isLink {
		return nil, fault.Errorf(fault.BadRequest, "%.200q is not a regular file", f.Path)
	}
	parts := make(pieces, 0, len(f.extents))
	at := int64(0)
	for _, e := range f.extents {
		parts = append(parts, piece{at, io.NewSectionReader(im.r, int64(e.extent)*im.block, int64(e.length))})
		at += int64(e.length)
	}
	return io.NewSectionReader(parts, 0, at), nil
}

type walker struct {
	im    Image           // with its own count of what is read
	seen  map[uint32]bool // directories by their extent: one that comes twice is a loop
	n     int             // of files and directories so far
	names int64           // bytes of their paths and links
	fn    func(File) error
}

// newWalker returns a walker that begins at a directory.
func newWalker(im *Image, at node, fn func(File) error) *walker {
	w := &walker{im: *im, seen: map[uint32]bool{at.extent: true}, fn: fn}
	w.im.spent = new(int64)
	return w
}

// count refuses a file that is one too many, or whose path is.
func (w *walker) count(f *File) error {
	if w.n++; w.n > maxEntries {
		return refuse("it has over %d files", maxEntries)
	}
	if w.names += int64(len(f.Path) + len(f.Link)); w.names > maxNames {
		return refuse("the paths of its files have over %d bytes together", maxNames)
	}
	return nil
}

func (w *walker) directory(ctx context.Context, name string, at node, depth int) error {
	if depth > maxDepth {
		return refuse("its directories are over %d deep", maxDepth)
	}
	var below []File
	err := w.im.readDir(ctx, name, at, func(f File) error {
		if err := w.count(&f); err != nil {
			return err
		}
		if f.Dir {
			if w.seen[f.extents[0].extent] {
				return refuse("its directory %.200q loops", f.Path)
			}
			w.seen[f.extents[0].extent] = true
			below = append(below, f)
			return nil
		}
		return w.fn(f)
	})
	if err != nil {
		return err
	}
	for _, d := range below {
		if err := w.fn(d); err != nil {
			return err
		}
		if err := w.directory(ctx, d.Path, d.extents[0], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// readDir reads the records of a directory, and calls fn for each file of which nothing lies beyond the image's end.
func (im *Image) readDir(ctx context.Context, name string, at node, fn func(File) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	dir, err := im.readBlocks(at.extent, 0, at.length)
	if err != nil {
		return err
	}
	var partial *File // of which more extents are to come
	for off := 0; ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		r, next, err := nextRecord(dir, off)
		if err != nil || r == nil {
			return err
		}
		off = next
		if r.isDot() || r.flags()&flagAssoc != 0 {
			continue
		}
		f, moved, err := im.file(name, r)
		if err != nil {
			return err
		}
		if partial != nil && !f.Dir {
			f.extents = append(partial.extents, f.extents...)
			f.Size += partial.Size
		}
		if partial = nil; r.flags()&flagMore != 0 && !f.Dir {
			partial = &f
			continue
		}
		if moved {
			continue
		}
		if err := fn(f); err != nil {
			return err
		}
	}
}

// file makes a File of a record of the directory called dir. moved says that it really stands elsewhere.
func (im *Image) file(dir string, r record) (f File, moved bool, err error) {
	f = File{Dir: r.isDir(), extents: []node{{r.extent(), r.length()}}}
	base := ""
	switch {
	case im.ucs2:
		base = plainName(ucs2(r.name()))
	case im.RockRidge:
		var x rockRidge
		if err := entries(r.systemUse(), im.skip, im.readBlocks, x.take); err != nil {
			return f, false, err
		}
		if x.long {
			return f, false, refuse("a file in %q has a name of over %d bytes, or leads to one of over %d", dir, maxName, maxLink)
		}
		f.Link, f.isLink, moved = x.link, x.isLink, x.moved
		if x.hasName {
			base = x.name
		}
		if x.child != 0 {
			if f.extents[0], err = im.relocated(x.child); err != nil {
				return f, false, err
			}
			f.Dir = true
		}
	}
	if base == "" {
		base = plainName(text(r.name()))
	}
	base = strings.Map(printable, strings.ToValidUTF8(base, "?"))
	if base == "" || base == "." || base == ".." || strings.Contains(base, "/") {
		return f, false, refuse("a file in its directory %.200q is called %.200q", dir, base)
	}
	f.Path = path.Join(dir, base)
	if f.isLink {
		return f, moved, nil
	}
	at := f.extents[0]
	if end := int64(at.extent)*im.block + int64(at.length); at.length > 0 && end > im.fileSize {
		return f, false, refuse("its file %.200q ends at byte %d, and it has only %d", f.Path, end, im.fileSize)
	}
	if !f.Dir {
		f.Size = int64(at.length)
	}
	return f, moved, nil
}

// relocated finds the place of a directory that lies elsewhere (RRIP section 4.1.5.1): its own first record says it.
func (im *Image) relocated(block uint32) (node, error) {
	b, err := im.readBlocks(block, 0, Sector)
	if err != nil {
		return node{}, err
	}
	r, _, err := nextRecord(b, 0)
	if err != nil {
		return node{}, err
	}
	if r == nil || !r.isDir() {
		return node{}, refuse("a moved directory is not where it is said to be")
	}
	return node{block, r.length()}, nil
}

// plainName drops the version and the dot of a name without an extension (ECMA-119 section 7.5.1).
func plainName(name string) string {
	if stem, _, ok := strings.Cut(name, ";"); ok {
		name = stem
	}
	return strings.TrimSuffix(name, ".")
}

// piece is one extent of a file, at its place in the file.
type piece struct {
	at int64
	r  *io.SectionReader
}

// pieces reads a file of several extents.
type pieces []piece

// ReadAt implements io.ReaderAt.
func (p pieces) ReadAt(b []byte, off int64) (n int, err error) {
	for _, part := range p {
		rel := off + int64(n) - part.at
		if rel < 0 || rel >= part.r.Size() {
			continue
		}
		m, err := part.r.ReadAt(b[n:min(int64(len(b)), int64(n)+part.r.Size()-rel)], rel)
		n += m
		if n == len(b) {
			return n, nil
		}
		if err != nil && rel+int64(m) < part.r.Size() {
			return n, err
		}
	}
	return n, io.EOF
}

var _ io.ReaderAt = pieces(nil)

// has reports whether the image has a regular file at one of the paths, and returns the first's content up to limit bytes.
func (im *Image) has(ctx context.Context, limit int64, names ...string) ([]byte, bool) {
	for _, name := range names {
		f, err := im.Find(ctx, name)
		if err != nil {
			continue
		}
		r, err := im.Open(f)
		if err != nil {
			continue
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, io.LimitReader(r, limit)); err == nil {
			return b.Bytes(), true
		}
	}
	return nil, false
}

package pool

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"elstore/volume/fault"
)

// maxDepth is how many levels below the root a pool may lie.
const maxDepth = 2

// NotPool is a directory that looks like a pool and is none.
type NotPool struct {
	Path   string `json:"path"` // absolute
	Reason string `json:"reason"`
}

// candidate is a directory that holds a settings.json and has none above it.
type candidate struct {
	rel      string      // its path below the root, without symbolic links, "." for the root
	shown    string      // the path that led there, which may go through a symbolic link
	dir      fs.FileInfo // tells whether it is still the same directory
	settings Settings
	err      error // why the settings are not valid
}

// survey is what lies below a root.
type survey struct {
	asking *asking

	pools    []candidate          // in the order of rel
	notPools []NotPool            // in the order of their paths
	watch    map[string]bool      // directories, by rel, in which a change may make, end or change a pool
	failed   map[string]error     // directories, by rel, about which and below which nothing can be said now
	seen     map[string]candidate // pools by rel
}

// discover looks for pools: in the root, and in directories one or two levels below it that have no
// settings.json above them. Directories that are hidden, hold a volume, or are a pool's own are not searched.
// A symbolic link is followed only within the root.
func discover(root *os.Root, a *asking) survey {
	s := newSurvey(a)
	s.search(root, ".", ".", 0, "")
	s.pools = slices.SortedFunc(maps.Values(s.seen), func(a, b candidate) int { return cmp.Compare(a.rel, b.rel) })
	s.dropDoubles(root)
	slices.SortFunc(s.notPools, func(a, b NotPool) int { return cmp.Compare(a.Path, b.Path) })
	return s
}

func newSurvey(a *asking) survey {
	return survey{asking: a, watch: map[string]bool{}, failed: map[string]error{}, seen: map[string]candidate{}}
}

// search looks at the directory rel, which lies depth levels below the root, and at those below it. above is the
// pool that it lies in, or "".
func (s *survey) search(root *os.Root, rel, shown string, depth int, above string) {
	_, err := root.Lstat(path.Join(rel, SettingsFile))
	switch {
	case err == nil && above != "":
		s.reject(root, shown, "it lies inside the pool "+filepath.Join(root.Name(), above)+", whose settings.json counts")
		return
	case err == nil:
		s.take(root, rel, shown)
		above = rel
	case above != "": // what can't be searched inside a pool is no loss
	case !absent(err):
		s.fail(root, rel, shown, err)
		return
	default:
		s.watch[rel] = true
	}
	if depth == maxDepth {
		return
	}
	entries, err := list(root, rel)
	if err != nil && above == "" && !absent(err) {
		s.fail(root, rel, shown, err)
	}
	for _, e := range entries {
		child, childShown := path.Join(rel, e.name), path.Join(shown, e.name)
		look := func(s *survey) { s.search(root, child, childShown, depth+1, above) }
		if e.link {
			look = func(s *survey) { s.follow(root, child, childShown, depth+1) }
		}
		if depth > 0 {
			look(s)
			continue
		}
		// What lies in the root may be mounted from anywhere, and must not keep the rest from being found.
		part, ok := ask(s.asking, childShown, func() survey {
			part := newSurvey(s.asking)
			look(&part)
			return part
		})
		if ok {
			s.join(part)
		} else {
			s.fail(root, child, childShown, errSilent)
		}
	}
}

// join adds what another survey found below the same root.
func (s *survey) join(part survey) {
	for _, c := range part.seen {
		s.add(c)
	}
	maps.Copy(s.watch, part.watch)
	maps.Copy(s.failed, part.failed)
	s.notPools = append(s.notPools, part.notPools...)
}

// add takes up a pool, under the first of the paths that lead to it.
func (s *survey) add(c candidate) {
	if other, double := s.seen[c.rel]; !double || c.shown < other.shown {
		s.seen[c.rel] = c
	}
}

// follow searches what a symbolic link leads to.
func (s *survey) follow(root *os.Root, rel, shown string, depth int) {
	if info, err := os.Stat(filepath.Join(root.Name(), rel)); err != nil || !info.IsDir() {
		return
	}
	target, ok := resolve(root, rel)
	if !ok {
		if _, err := os.Lstat(filepath.Join(root.Name(), rel, SettingsFile)); err == nil {
			s.reject(root, shown, "it is a symbolic link that leads out of "+root.Name()+", and is not followed")
		}
		return
	}
	parts := strings.Split(target, "/")
	if target == "." || len(parts) <= maxDepth && !slices.ContainsFunc(parts, private[string]) {
		return // it is searched at its own place
	}
	if slices.ContainsFunc(parts, private[string]) {
		s.reject(root, shown, "it is a symbolic link into a directory that is not searched")
		return
	}
	for dir := path.Dir(target); ; dir = path.Dir(dir) {
		if _, err := root.Lstat(path.Join(dir, SettingsFile)); err == nil {
			s.reject(root, shown, "it is a symbolic link into the pool "+filepath.Join(root.Name(), dir)+", whose settings.json counts")
			return
		}
		if dir == "." {
			break
		}
	}
	s.search(root, target, shown, depth, "")
}

// resolve returns where a symbolic link below root leads, as a path below root. ok is false if it leads out.
func resolve(root *os.Root, rel string) (target string, ok bool) {
	base, err := filepath.EvalSymlinks(root.Name())
	if err != nil {
		return "", false
	}
	full, err := filepath.EvalSymlinks(filepath.Join(base, rel))
	if err != nil {
		return "", false
	}
	target, err = filepath.Rel(base, full)
	return target, err == nil && filepath.IsLocal(target)
}

// take adds a pool, valid or not.
func (s *survey) take(root *os.Root, rel, shown string) {
	c := candidate{rel: rel, shown: shown}
	if c.dir, c.err = root.Stat(rel); c.err == nil {
		c.settings, c.err = readSettings(root, rel)
	}
	s.add(c)
	s.watch[rel] = true
}

// dropDoubles leaves one of the pools that are the same directory, mounted twice.
func (s *survey) dropDoubles(root *os.Root) {
	s.pools = slices.DeleteFunc(s.pools, func(c candidate) bool {
		for _, other := range s.pools {
			if other.rel < c.rel && c.dir != nil && other.dir != nil && os.SameFile(c.dir, other.dir) {
				s.reject(root, c.shown, "it is the same directory as "+filepath.Join(root.Name(), other.rel))
				return true
			}
		}
		return false
	})
}

func (s *survey) reject(root *os.Root, shown, reason string) {
	s.notPools = append(s.notPools, NotPool{Path: filepath.Join(root.Name(), shown), Reason: reason})
}

// fail notes that a directory can't be looked at.
func (s *survey) fail(root *os.Root, rel, shown string, err error) {
	s.failed[rel] = err
	s.reject(root, shown, "it can't be searched: "+cause(err))
}

// unsure returns why nothing can be said about the pool at rel now, or nil.
func (s *survey) unsure(rel string) error {
	for dir := rel; ; dir = path.Dir(dir) {
		if err := s.failed[dir]; err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// private reports whether a directory of this name is never a pool: it is hidden, or a pool's own.
func private[T string | []byte](name T) bool {
	return len(name) == 0 || name[0] == '.' || string(name) == "elemento-bin" || string(name) == "elemento-base" || isVolume(name)
}

// isVolume reports whether a directory of this name holds a volume.
func isVolume[T string | []byte](name T) bool {
	const head, tail = "vid.", ".elimg"
	return len(name) >= len(head)+len(tail) && string(name[:len(head)]) == head && string(name[len(name)-len(tail):]) == tail
}

// readSettings reads the settings.json of the directory rel.
func readSettings(root *os.Root, rel string) (Settings, error) {
	name := path.Join(rel, SettingsFile)
	bad := func(format string, args ...any) (Settings, error) {
		return DefaultSettings(), fault.Errorf(fault.PoolUnavailable, SettingsFile+" "+format, args...)
	}
	// A pipe of that name must not make us wait for its writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, lerr := root.Lstat(name); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return bad("is a symbolic link that leads nowhere within %s: %s", root.Name(), cause(err))
		}
		return bad("can't be read: %s", cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return bad("can't be read: %s", cause(err))
	case info.IsDir():
		return bad("is a directory; it must be a file")
	case !info.Mode().IsRegular():
		return bad("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSettings+1))
	if err != nil {
		return bad("can't be read: %s", cause(err))
	}
	return ParseSettings(data)
}

// absent reports whether err says that a path is not there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// cause returns what an error of the operating system says, without the path that the sentence around it names.
func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

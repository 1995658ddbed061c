package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// image is what a guest is booted from.
type image struct {
	kernel, initrd string // paths, for QEMU
	bzImage        string // the same kernel, for a loader
	disk           string

	use *os.File // a shared lock of the directory, so that nobody sweeps it away
}

// imageOnce makes the image once in a test program.
var imageOnce = sync.OnceValues(func() (image, error) {
	dir, err := cacheDir()
	if err != nil {
		return image{}, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "packages", "*.deb"))
	if err != nil {
		return image{}, err
	}
	r := recipe{
		kind: "image", of: append(slices.Clone(debs), bootSector), text: fmt.Sprintln(modules, programs, kernelArguments, string(initScript)),
		make: func(temp, to string) error { return makeImage(filepath.Join(temp, "root"), debs, to) },
	}
	place, use, err := r.cached(dir)
	in := func(name string) string { return filepath.Join(place, name) }
	return image{kernel: in("kernel"), initrd: in("initrd"), bzImage: in("bzImage"), disk: in("disk"), use: use}, err
})

// recipe says how an image is made.
type recipe struct {
	kind string                      // begins the names of the directories that hold such images
	of   []string                    // the files that it is made of
	text string                      // what else it depends on, but for this package's code, which has its version in keyOf
	make func(temp, to string) error // makes it in the directory to; temp is for what comes between. Both are empty
}

// cacheDir is where packages and images are kept between tests, as setup knows it.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "elstore", "guest"), err
}

// cached returns the directory below dir that holds the image, making it first if it isn't there, and the lock that keeps it.
func (r *recipe) cached(dir string) (place string, use *os.File, err error) {
	key, err := keyOf(r.text, r.of)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock-"+r.kind), os.O_CREATE|os.O_RDWR, unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer lock.Close() // which unlocks it
	place = filepath.Join(dir, r.kind+"-"+key)
	if _, err := os.Stat(place); err != nil {
		if err := sweep(dir, r.kind); err != nil {
			return "", nil, err
		}
		if err := r.makeIn(dir, place); err != nil {
			return "", nil, fmt.Errorf("make the guest's %s: %w", r.kind, err)
		}
	}
	use, err = lockFile(place, os.O_RDONLY, unix.LOCK_SH)
	return place, use, err
}

// lockFile opens a file and locks it for as long as it is open.
func lockFile(path string, flags, how int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// makeIn makes an image beside its place and moves it there.
func (r *recipe) makeIn(dir, place string) error {
	temp, err := os.MkdirTemp(dir, r.kind+"-making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	half, between := filepath.Join(temp, "image"), filepath.Join(temp, "between")
	for _, sub := range []string{half, between} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
	}
	if err := r.make(between, half); err != nil {
		return err
	}
	return os.Rename(half, place)
}

// sweep removes images of a kind that nobody uses, and those that were never made whole. The caller has the kind's lock.
func sweep(dir, kind string) error {
	images, err := filepath.Glob(filepath.Join(dir, kind+"-*"))
	if err != nil {
		return err
	}
	for _, place := range images {
		f, err := lockFile(place, os.O_RDONLY, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			continue
		case err != nil:
			return err
		}
		err = os.RemoveAll(place)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// keyOf is a sum over all that an image is made of but this package's code, which has its version in it.
func keyOf(text string, files []string) (string, error) {
	const version = 5 // of the code: count it up where the same input makes another image
	sum := sha256.New()
	fmt.Fprintln(sum, version, len(text), text)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

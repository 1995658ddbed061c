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
	kernel, initrd, disk string // paths

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
	return cached(dir, debs)
})

// cacheDir is where packages and images are kept between tests, as setup knows it.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "elstore", "guest"), err
}

// cached returns the image of packages that is in a directory, and makes it there first if it isn't.
func cached(dir string, debs []string) (image, error) {
	key, err := keyOf(append(slices.Clone(debs), bootSector))
	if err != nil {
		return image{}, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, unix.LOCK_EX)
	if err != nil {
		return image{}, err
	}
	defer lock.Close() // which unlocks it
	place := filepath.Join(dir, "image-"+key)
	if _, err := os.Stat(place); err != nil {
		if err := sweep(dir); err != nil {
			return image{}, err
		}
		if err := makeIn(dir, place, debs); err != nil {
			return image{}, fmt.Errorf("make the guest's image: %w", err)
		}
	}
	use, err := lockFile(place, os.O_RDONLY, unix.LOCK_SH)
	in := func(name string) string { return filepath.Join(place, name) }
	return image{kernel: in("kernel"), initrd: in("initrd"), disk: in("disk"), use: use}, err
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
func makeIn(dir, place string, debs []string) error {
	temp, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	half := filepath.Join(temp, "image")
	if err := os.Mkdir(half, 0o755); err != nil {
		return err
	}
	if err := makeImage(filepath.Join(temp, "root"), debs, half); err != nil {
		return err
	}
	return os.Rename(half, place)
}

// sweep removes images of other packages that nobody uses, and those that were never made whole. The caller has the
// directory's lock.
func sweep(dir string) error {
	images, err := filepath.Glob(filepath.Join(dir, "image-*"))
	if err != nil {
		return err
	}
	unused, err := filepath.Glob(filepath.Join(dir, "making-*"))
	if err != nil {
		return err
	}
	for _, place := range images {
		f, err := lockFile(place, os.O_RDONLY, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			f.Close()
			unused = append(unused, place)
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		}
	}
	for _, place := range unused {
		if err := os.RemoveAll(place); err != nil {
			return err
		}
	}
	return nil
}

// keyOf is a sum over all that an image is made from but this package's code, which has its version in it.
func keyOf(files []string) (string, error) {
	const version = 3 // of the code: count it up where the same input makes another image
	sum := sha256.New()
	fmt.Fprintln(sum, version, modules, programs, kernelArguments, len(initScript))
	sum.Write(initScript)
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

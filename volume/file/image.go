package file

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// OpenImage makes a Device of an open raw image that is not, or not known to be, a volume's: any regular file, or
// memory that has a descriptor. It takes f over, also where it fails. name is what messages call the image. What
// keeps others away from it, such as a flock on f, is the caller's to do.
//
// Grow may be called while requests run.
func OpenImage(f *os.File, name string, readonly bool) (volume.Device, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.Errorf(fault.BadRequest, "%s is not a regular file", name)
	}
	if err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fault.FromOS("open the image", err)
	}
	return newDevice(f, name, readonly, info.Size()), nil
}

// OpenLock opens the file whose flock keeps others from the volume that an image at path, which is absolute and without
// symbolic links, belongs to. It returns nil where the image lies in no volume's directory. Who holds the flock
// exclusively may change the volume's files; it lasts until every descriptor, also of children, is closed.
func OpenLock(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if _, ok := parseVolumeName(filepath.Base(dir)); !ok {
		return nil, nil //nolint:nilnil // that there is none is no error
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600) //nolint:gosec // the caller names it
	return f, fault.FromOS("open the volume's lock", err)
}

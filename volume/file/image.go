package file

import (
	"os"

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

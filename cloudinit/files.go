package cloudinit

import (
	"bytes"
	"strconv"
	"strings"

	"elstore/iso"
	"elstore/volume/fault"
)

// Names of the files that cloud-init reads from a NoCloud seed, and of the source system's name for the network's.
const (
	UserData      = "user-data"
	MetaData      = "meta-data"
	NetworkConfig = "network-config"
	NetworkData   = "network-data"
	VendorData    = "vendor-data"
)

// Names returns the names of the files that Check knows.
func Names() []string { return []string{UserData, MetaData, NetworkConfig, NetworkData, VendorData} }

// Label is the volume label by which cloud-init finds a seed.
const Label = "cidata"

// Bounds on a seed.
const (
	MaxFiles = 64       // files of a seed
	MaxBytes = 16 << 20 // bytes of all of them
	MinFiles = 2        // that can be expected
)

// Files are a seed's files by their names.
type Files map[string][]byte

// trackerBegin and trackerEnd enclose the number in the name of the file that says how many files are to come.
const (
	trackerBegin = "elemento."
	trackerEnd   = ".expected"
)

func tracker(n int) string { return trackerBegin + strconv.Itoa(n) + trackerEnd }

// pending is the name of the file that is there while a seed is changed; it holds the name of the file that is. One that is found
// was left by a crash, and the image is older than the files.
const pending = "elemento.edit"

// parseTracker returns the number in a tracker's name.
func parseTracker(name string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, trackerBegin)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, trackerEnd); !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && n <= MaxFiles && strconv.Itoa(n) == digits
}

// CheckName refuses what can't be the name of a seed's file.
func CheckName(name string) error {
	if err := iso.CheckFileName(name); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(name, trackerBegin) && strings.HasSuffix(name, trackerEnd), name == pending, strings.HasPrefix(name, ".tmp-"):
		return fault.Errorf(fault.BadRequest, "the file name %q is the server's own", name)
	}
	return nil
}

// CheckExpected refuses numbers of files that no seed has.
func CheckExpected(n int) error {
	if n < MinFiles || n > MaxFiles {
		return fault.Errorf(fault.BadRequest, "expectedFiles %d is not allowed: use %d to %d", n, MinFiles, MaxFiles)
	}
	return nil
}

// Check refuses a set of files with one that Check refuses, and one that is too large.
func (f Files) Check() error {
	if len(f) > MaxFiles {
		return fault.Errorf(fault.BadRequest, "the seed has %d files; allowed are %d", len(f), MaxFiles)
	}
	if err := f.checkSize(); err != nil {
		return err
	}
	for _, name := range f.names() {
		if err := Check(name, f[name]); err != nil {
			return err
		}
	}
	return nil
}

func (f Files) checkSize() error {
	total := 0
	for _, data := range f {
		total += len(data)
	}
	if total > MaxBytes {
		return TooLarge()
	}
	return nil
}

// TooLarge is the error for files over MaxBytes.
func TooLarge() error {
	return fault.Errorf(fault.BodyTooLarge, "the files of a seed have over %d bytes (16 MiB) together, which is the most", MaxBytes)
}

// isScript reports whether a file is to be executable in the image.
func isScript(data []byte) bool { return bytes.HasPrefix(data, []byte("#!")) }

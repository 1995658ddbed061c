package volume

import (
	"strings"

	"elstore/volume/fault"
)

// Names of the files that lie beside a volume's image and belong to its content, as the source document has them.
const (
	ISOInfoFile = "isoinfo.json"         // what an ISO volume is for
	SeedDir     = "cloud-init-metadata/" // the files of a cloud-init seed
)

// MaxBeside is the largest such file, in bytes.
const MaxBeside = 16 << 20

// CheckBeside refuses what is no name for a file beside an image: ISOInfoFile, or SeedDir and one more element.
func CheckBeside(name string) error {
	rest, seed := strings.CutPrefix(name, SeedDir)
	switch {
	case name == ISOInfoFile:
		return nil
	case !seed, rest == "", rest == ".", rest == "..", len(rest) > 255, strings.HasPrefix(rest, ".tmp-"),
		strings.ContainsFunc(rest, func(r rune) bool { return r == '/' || r < 0x20 || r == 0x7f }):
		return fault.Errorf(fault.BadRequest, "%.300q is no file of a volume: use %s, or %s and a name", name, ISOInfoFile, SeedDir)
	}
	return nil
}

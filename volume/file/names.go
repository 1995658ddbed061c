package file

import (
	"strings"

	"elstore/volume"
	"elstore/volume/durable"
)

// The names in a pool and in a volume.
const (
	binName     = "elemento-bin"
	baseName    = "elemento-base"
	metaName    = "meta.json"
	isoName     = "isoinfo.json"
	lockName    = ".lock"
	deletedName = ".deleted"
	uploadName  = "upload.part"

	volumePrefix = "vid."
	volumeSuffix = ".elimg"
	stagePrefix  = ".vid."
	stageSuffix  = ".elimg.new"
	purgePrefix  = ".purge."
	markPrefix   = "elemento."
	markSuffix   = ".ignore"
	tempPrefix   = durable.TempPrefix
	claimSuffix  = ".lock" // of a temporary file's lock
	refSuffix    = ".rbd"  // of files that name an image on a cluster
)

// basePath begins the name by which an overlay's image knows its base, relative to the volume.
const basePath = "../" + baseName + "/"

func volumeName(id volume.ID) string { return volumePrefix + id.String() + volumeSuffix }
func stageName(id volume.ID) string  { return stagePrefix + id.String() + stageSuffix }
func purgeName(id volume.ID) string  { return purgePrefix + id.String() }
func dataName(f volume.Format) string {
	return "data." + f.Ext()
}

// parseVolumeName returns the id in the name of a volume's directory. Other spellings of the id than ours are none,
// so that two names can't mean one volume.
func parseVolumeName[T string | []byte](name T) (volume.ID, bool) {
	return parseID(name, volumePrefix, volumeSuffix)
}

func parseStageName(name string) (volume.ID, bool) { return parseID(name, stagePrefix, stageSuffix) }

// parseID reads the id between prefix and suffix, where it is written as we write it.
func parseID[T string | []byte](name T, prefix, suffix string) (id volume.ID, ok bool) {
	const digits = 32
	if len(name) != len(prefix)+digits+len(suffix) || string(name[:len(prefix)]) != prefix || string(name[len(prefix)+digits:]) != suffix {
		return volume.ID{}, false
	}
	text := []byte(name[len(prefix) : len(prefix)+digits])
	for _, c := range text {
		if 'A' <= c && c <= 'F' {
			return volume.ID{}, false
		}
	}
	err := id.UnmarshalText(text)
	return id, err == nil
}

// parseMarkName returns the purpose in the name of a file that says who is at work: elemento.<purpose>.<operation>.ignore.
func parseMarkName(name string) (purpose string, ok bool) {
	rest, ok := strings.CutPrefix(name, markPrefix)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutSuffix(rest, markSuffix); !ok {
		return "", false
	}
	purpose, operation, ok := strings.Cut(rest, ".")
	return purpose, ok && purpose != "" && operation != ""
}

// parseBaseName returns QEMU's name of the format of the base image with that name: <sha256>.<img|qcow2>.
func parseBaseName(name string) (format string, ok bool) {
	const digits = 64
	if len(name) < digits || strings.Trim(name[:digits], "0123456789abcdef") != "" {
		return "", false
	}
	switch name[digits:] {
	case ".img":
		return "raw", true
	case ".qcow2":
		return "qcow2", true
	}
	return "", false
}

// word makes a purpose fit for a file's name.
func word(purpose string) string {
	purpose = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(purpose))
	if purpose == "" {
		return "operation"
	}
	return purpose[:min(len(purpose), 32)]
}

// contents is what lies in a volume's directory, as far as it is ours.
type contents struct {
	meta, iso, deleted bool
	records            bool // of exports
	marks              []string
	temps              []string
	data               []string // data.*
	other              bool     // anything else, but the lock
}

// sort takes in one name.
func (c *contents) sort(name string) {
	switch {
	case name == metaName:
		c.meta = true
	case name == isoName:
		c.iso = true
	case name == deletedName:
		c.deleted = true
	case name == volume.RecordsDir:
		c.records, c.other = true, true
	case strings.HasPrefix(name, tempPrefix):
		c.temps = append(c.temps, name)
	case strings.HasPrefix(name, "data."):
		c.data = append(c.data, name)
	case name == lockName:
	default:
		if _, ok := parseMarkName(name); ok {
			c.marks = append(c.marks, name)
		} else {
			c.other = true
		}
	}
}

// odd reports whether something is left behind by a crash, or an operation runs.
func (c *contents) odd(inBin bool) bool {
	return len(c.marks) > 0 || len(c.temps) > 0 || c.deleted && !inBin
}

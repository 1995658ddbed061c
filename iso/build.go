package iso

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"elstore/volume/fault"
)

// Bounds on what Build takes.
const (
	MaxLabel    = 16       // bytes of a label, which is what Joliet has room for
	MaxFileName = 103      // bytes of each element of a path: what Rock Ridge and Joliet both can hold in one record
	MaxBuild    = 64 << 20 // bytes of all files together
)

// Config says what image Build makes.
type Config struct {
	Label       string            // 1 to MaxLabel letters, digits, "_" and "-"
	Application string            // what made it, up to 128 bytes; "" is none
	Files       map[string][]byte // by their paths from the root, with "/" between the elements
	Executable  map[string]bool   // paths of files that are to be executable; the others are not

	BIOSBoot string // the path of a boot image for PC firmware (El Torito, no emulation), or ""
	UEFIBoot string // the path of a FAT image for UEFI, or ""
}

// Build makes an image of files: ISO 9660 with Rock Ridge and Joliet, as long as its volume says, which is a multiple of 2048 bytes. The
// same Config gives the same bytes. What can't be put into an image is refused with BadRequest.
func Build(c Config) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w, err := newWorkspace()
	if err != nil {
		return nil, fault.FromOS("make a directory for the image's files", err)
	}
	defer w.close()
	for name, data := range c.Files {
		if err := w.put(name, int64(len(data)), c.Executable[name]); err != nil {
			return nil, fault.FromOS("make the image's files", err)
		}
	}
	m := &memory{data: make([]byte, 0, c.estimate())}
	fsys, err := iso9660.Create(m, 0, 0, Sector, w.path)
	if err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	options := iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: c.Label}
	if entries := c.boot(); entries != nil {
		options.ElTorito = &iso9660.ElTorito{BootCatalog: "/boot.catalog", HideBootCatalog: true, Entries: entries}
	}
	if err := fsys.Finalize(options); err != nil {
		return nil, fmt.Errorf("make the image: %w", err)
	}
	return settle(m.data, c)
}

// estimate is about how many bytes the image will have, so that it need not grow.
func (c *Config) estimate() int {
	const perFile = 2 * Sector // records in both trees, and what its last sector lacks
	size := 64 * Sector
	for _, data := range c.Files {
		size += len(data) + perFile
	}
	return size
}

func (c *Config) boot() (list []*iso9660.ElToritoEntry) {
	if c.BIOSBoot != "" {
		list = append(list, &iso9660.ElToritoEntry{Platform: iso9660.BIOS, Emulation: iso9660.NoEmulation, BootFile: c.BIOSBoot})
	}
	if c.UEFIBoot != "" {
		list = append(list, &iso9660.ElToritoEntry{Platform: iso9660.EFI, Emulation: iso9660.NoEmulation, BootFile: c.UEFIBoot})
	}
	return list
}

func (c *Config) check() error {
	bad := func(format string, args ...any) error { return fault.Errorf(fault.BadRequest, format, args...) }
	letters := strings.IndexFunc(c.Label, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' && r != '-'
	})
	if c.Label == "" || len(c.Label) > MaxLabel || letters >= 0 {
		return bad("the label %.64q is not allowed: use 1 to %d letters, digits, _ and -", c.Label, MaxLabel)
	}
	if len(c.Application) > 128 {
		return bad("the application id has %d bytes; allowed are 128", len(c.Application))
	}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		if total += len(c.Files[name]); total > MaxBuild {
			return fault.Errorf(fault.BodyTooLarge, "the files have over %d bytes together, which is the most for an image", MaxBuild)
		}
		if name != path.Clean(name) || name == "." || strings.HasPrefix(name, "/") || strings.Count(name, "/") > 6 {
			return bad("%.300q is not the path of a file in an image", name)
		}
		for part := range strings.SplitSeq(name, "/") {
			if err := CheckFileName(part); err != nil {
				return err
			}
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, file := c.Files[dir]; file {
				return bad("%.300q is both a file and a directory", dir)
			}
		}
	}
	for _, name := range []string{c.BIOSBoot, c.UEFIBoot} {
		if _, there := c.Files[name]; name != "" && !there {
			return bad("the boot image %.300q is not among the files", name)
		}
	}
	return nil
}

// joliet can't hold these in a name (Joliet specification, "Allowable characters").
const unjoliet = `*/:;?\`

// CheckFileName refuses what can't be a file's name in an image: nothing, ".", "..", slashes, control characters, what Joliet forbids,
// and what is longer than MaxFileName bytes.
func CheckFileName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fault.Errorf(fault.BadRequest, "a file can't be called %q", name)
	case len(name) > MaxFileName:
		return fault.Errorf(fault.BadRequest, "the file's name has %d bytes; allowed are %d: %.40q…", len(name), MaxFileName, name)
	case !utf8.ValidString(name):
		return fault.Errorf(fault.BadRequest, "the file's name %q is not UTF-8", name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r > 0xffff || strings.ContainsRune(unjoliet, r) {
			return fault.Errorf(fault.BadRequest, "the file's name %q bears %q, which is not allowed: use letters, digits and signs except %s", name, r, unjoliet)
		}
	}
	return nil
}

package iso

import (
	"context"
	"regexp"
	"strings"
)

// Guess is what an image seems to hold; "" is what it doesn't tell.
type Guess struct {
	Family  string // linux, windows, bsd
	Flavour string // debian, ubuntu, fedora, windows…
	Version string
}

// markerLimit is how much of a file that identifies a distribution is read, in bytes.
const markerLimit = 64 << 10

// Guess looks for the files by which distributions identify their media, and at last at the label. It never fails: a tree that
// can't be read tells nothing.
func (im *Image) Guess(ctx context.Context) Guess {
	if data, ok := im.has(ctx, markerLimit, ".disk/info"); ok {
		if g := fromDiskInfo(string(data)); g != (Guess{}) {
			return g
		}
	}
	if data, ok := im.has(ctx, markerLimit, ".treeinfo"); ok {
		if g := fromTreeInfo(string(data)); g != (Guess{}) {
			return g
		}
	}
	if data, ok := im.has(ctx, markerLimit, ".alpine-release"); ok {
		return fromAlpine(string(data))
	}
	if _, ok := im.has(ctx, 1, "arch/version", "arch/pkglist.x86_64.txt"); ok {
		data, _ := im.has(ctx, markerLimit, "arch/version")
		return Guess{"linux", "arch", strings.TrimSpace(string(data))}
	}
	if _, ok := im.has(ctx, 1, "sources/install.wim", "sources/install.esd", "sources/boot.wim", "bootmgr"); ok {
		return Guess{"windows", "windows", ""}
	}
	return fromLabel(im.Label)
}

// words finds a distribution's name and version: Debian GNU/Linux 12.9.0 "Bookworm" - Official, Ubuntu-Server 24.04.2 LTS.
var words = regexp.MustCompile(`^\s*((?:Linux )?[A-Za-z][A-Za-z!_]*)[^0-9\n]*?(?:\s|-)v?([0-9]+(?:\.[0-9]+)*)`)

// fromDiskInfo reads the .disk/info of Debian and those that descend from it.
func fromDiskInfo(text string) Guess {
	m := words.FindStringSubmatch(text)
	if m == nil {
		return Guess{}
	}
	return Guess{"linux", flavour(m[1]), m[2]}
}

// fromTreeInfo reads the .treeinfo of Fedora, Red Hat and those that descend from them: an INI file, whose sections release
// or general have the family and the version.
func fromTreeInfo(text string) Guess {
	g := Guess{Family: "linux"}
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "release" && section != "general" {
			continue
		}
		value = strings.TrimSpace(value)
		switch key := strings.TrimSpace(key); {
		case (key == "name" && section == "release" || key == "family") && g.Flavour == "":
			g.Flavour = flavour(value)
		case key == "version" && g.Version == "":
			g.Version = value
		}
	}
	if g.Flavour == "" {
		return Guess{}
	}
	return g
}

func fromAlpine(text string) Guess {
	g := Guess{Family: "linux", Flavour: "alpine"}
	// alpine-standard-3.20.3 240906: the version comes last in the first word.
	if fields := strings.Fields(text); len(fields) > 0 {
		g.Version = fields[0][strings.LastIndexByte(fields[0], '-')+1:]
	}
	return g
}

// labels are how labels begin that tell a system.
var labels = []struct {
	begin string
	guess Guess
}{
	{"CCCOMA_", Guess{Family: "windows", Flavour: "windows"}}, // client, consumer
	{"CENA_", Guess{Family: "windows", Flavour: "windows"}},   // Enterprise
	{"CPBA_", Guess{Family: "windows", Flavour: "windows"}},   // Pro
	{"CCSA_", Guess{Family: "windows", Flavour: "windows"}},
	{"ESD-ISO", Guess{Family: "windows", Flavour: "windows"}},
	{"SSS_X64", Guess{Family: "windows", Flavour: "windows-server"}}, // Server
	{"SERVER_EVAL", Guess{Family: "windows", Flavour: "windows-server"}},
	{"FEDORA", Guess{Family: "linux", Flavour: "fedora"}},
	{"CENTOS", Guess{Family: "linux", Flavour: "centos"}},
	{"ROCKY", Guess{Family: "linux", Flavour: "rocky"}},
	{"ALMALINUX", Guess{Family: "linux", Flavour: "almalinux"}},
	{"RHEL", Guess{Family: "linux", Flavour: "rhel"}},
	{"OPENSUSE", Guess{Family: "linux", Flavour: "opensuse"}},
	{"ARCH_", Guess{Family: "linux", Flavour: "arch"}},
	{"NIXOS", Guess{Family: "linux", Flavour: "nixos"}},
	{"ALPINE", Guess{Family: "linux", Flavour: "alpine"}},
	{"DEBIAN", Guess{Family: "linux", Flavour: "debian"}},
	{"UBUNTU", Guess{Family: "linux", Flavour: "ubuntu"}},
	{"PROXMOX", Guess{Family: "linux", Flavour: "proxmox"}},
	{"PVE", Guess{Family: "linux", Flavour: "proxmox"}},
	{"13_", Guess{Family: "bsd", Flavour: "freebsd"}},
	{"14_", Guess{Family: "bsd", Flavour: "freebsd"}},
	{"15_", Guess{Family: "bsd", Flavour: "freebsd"}},
	{"OPENBSD", Guess{Family: "bsd", Flavour: "openbsd"}},
}

var versionIn = regexp.MustCompile(`[0-9]+(?:[._][0-9]+)*`)

func fromLabel(label string) Guess {
	upper := strings.ToUpper(label)
	for _, l := range labels {
		if !strings.HasPrefix(upper, l.begin) {
			continue
		}
		g := l.guess
		if g.Family != "windows" { // whose labels tell languages and editions, not versions
			g.Version = strings.ReplaceAll(versionIn.FindString(upper), "_", ".")
		}
		return g
	}
	return Guess{}
}

// flavour makes a flavour's name of a distribution's.
func flavour(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	for long, short := range map[string]string{
		"red hat enterprise linux": "rhel", "centos stream": "centos", "rocky linux": "rocky", "oracle linux": "oracle", "linux mint": "mint", "pop!_os": "pop",
	} {
		if strings.HasPrefix(name, long) {
			return short
		}
	}
	name, _, _ = strings.Cut(name, " ")
	name, _, _ = strings.Cut(name, "-")
	return strings.Trim(name, "!_")
}

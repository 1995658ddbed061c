package iso_test

import (
	"testing"

	"elstore/iso"
)

func TestGuess(t *testing.T) {
	tests := []struct {
		name, label string
		files       map[string][]byte
		want        iso.Guess
	}{
		{"debian", "X", map[string][]byte{".disk/info": []byte(`Debian GNU/Linux 12.9.0 "Bookworm" - Official amd64 NETINST with firmware 20250111-10:55`)}, iso.Guess{Family: "linux", Flavour: "debian", Version: "12.9.0"}},
		{"ubuntu", "X", map[string][]byte{".disk/info": []byte(`Ubuntu-Server 24.04.2 LTS "Noble Numbat" - Release amd64 (20250216.1)`)}, iso.Guess{Family: "linux", Flavour: "ubuntu", Version: "24.04.2"}},
		{"mint", "X", map[string][]byte{".disk/info": []byte(`Linux Mint 22 "Wilma" - Release amd64`)}, iso.Guess{Family: "linux", Flavour: "mint", Version: "22"}},
		{"kali", "X", map[string][]byte{".disk/info": []byte(`Kali GNU/Linux 2024.4 "Kali-last-snapshot" - Official amd64`)}, iso.Guess{Family: "linux", Flavour: "kali", Version: "2024.4"}},
		{"fedora", "X", map[string][]byte{".treeinfo": []byte("[general]\nfamily = Fedora\nversion = 41\n[release]\nname = Fedora\nversion = 41\n")}, iso.Guess{Family: "linux", Flavour: "fedora", Version: "41"}},
		{"rhel", "X", map[string][]byte{".treeinfo": []byte("[header]\nversion = 1.2\n\n[release]\nname = Red Hat Enterprise Linux\nshort = RHEL\nversion = 9.4\n")}, iso.Guess{Family: "linux", Flavour: "rhel", Version: "9.4"}},
		{"alpine", "X", map[string][]byte{".alpine-release": []byte("alpine-standard-3.20.3 240906\n")}, iso.Guess{Family: "linux", Flavour: "alpine", Version: "3.20.3"}},
		{"arch", "X", map[string][]byte{"arch/version": []byte("2025.01.01\n")}, iso.Guess{Family: "linux", Flavour: "arch", Version: "2025.01.01"}},
		{"windows", "X", map[string][]byte{"sources/install.wim": {1}}, iso.Guess{Family: "windows", Flavour: "windows"}},
		{"windows bridge", "CCCOMA_X64FRE", nil, iso.Guess{Family: "windows", Flavour: "windows"}},
		{"label", "Rocky-9-5-x86", nil, iso.Guess{Family: "linux", Flavour: "rocky", Version: "9"}},
		{"freebsd", "14_2_RELEASE", nil, iso.Guess{Family: "bsd", Flavour: "freebsd", Version: "14.2"}},
		{"nothing", "X", map[string][]byte{"a": nil}, iso.Guess{}},
		{"empty marks", "X", map[string][]byte{".disk/info": nil, ".treeinfo": nil}, iso.Guess{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := open(t, build(t, iso.Config{Label: tt.label, Files: tt.files})).Guess(t.Context()); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestWhatWasSaidStays(t *testing.T) {
	guess := iso.Guess{Family: "linux", Flavour: "debian", Version: "12.9"}
	tests := []struct {
		name string
		said iso.Info
		want string
	}{
		{"nothing said", iso.Info{Type: iso.OSGeneric}, `{"isotype":"os_generic","os_family":"linux","os_flavour":"debian","os_version":"12.9"}`},
		{"version said", iso.Info{Type: iso.OSGeneric, OSVersion: new("12")}, `{"isotype":"os_generic","os_family":"linux","os_flavour":"debian","os_version":"12"}`},
		{"same flavour", iso.Info{Type: iso.OSGeneric, OSFlavour: new("Debian")}, `{"isotype":"os_generic","os_family":"linux","os_flavour":"Debian","os_version":"12.9"}`},
		{"another flavour", iso.Info{Type: iso.OSGeneric, OSFlavour: new("devuan")}, `{"isotype":"os_generic","os_flavour":"devuan"}`},
		{"another family", iso.Info{Type: iso.OSGeneric, OSFamily: new("windows")}, `{"isotype":"os_generic","os_family":"windows"}`},
		{"a tool", iso.Info{Type: iso.Tool, Scope: new("drivers")}, `{"isotype":"tool","scope":"drivers"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.said.Complete(guess)
			if got := string(tt.said.Encode()); got != tt.want+"\n" {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			back, err := iso.ParseInfo(tt.said.Encode())
			if err != nil || string(back.Encode()) != tt.want+"\n" {
				t.Errorf("read again: %s %v", back.Encode(), err)
			}
		})
	}
}

func TestInfoCheck(t *testing.T) {
	long := make([]byte, 256)
	for _, bad := range []string{string(long), "a\nb"} {
		if err := (&iso.Info{OSFamily: &bad}).Check(); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
	if _, err := iso.ParseInfo([]byte(`{"isotype":"floppy"}`)); err == nil {
		t.Error("a type that is none is taken")
	}
}

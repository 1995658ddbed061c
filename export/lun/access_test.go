package lun

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"elstore/export"
	"elstore/export/iscsi/login"
)

const targetName = "iqn.2004-10.cloud.elemento:01:0f4d8752498dc178c32b7ca68293e226"

func TestAccess(t *testing.T) {
	chap := export.Record{
		User: "u", Secret: login.NewSecret("s3cret"), PeerUser: "pu", PeerSecret: login.NewSecret("p3er"), Initiator: first, ReadOnly: true,
	}
	portals := []string{"[2001:db8::1]:3260", "192.0.2.1:3260"}
	got := access(targetName, portals, chap, "virtio")
	if want := "iscsi://u%s3cret@[2001:db8::1]:3260/" + targetName + "/0"; got.URI != want {
		t.Errorf("%s, want %s", got.URI, want)
	}
	if want := `{"qom-type":"secret","id":"secret-u","data":"s3cret"}`; string(got.Object) != want {
		t.Errorf("%s, want %s", got.Object, want)
	}
	if want := `{"driver":"raw","node-name":"volume-0f4d8752498dc178","read-only":true,"discard":"unmap","file":{"driver":"iscsi","transport":"tcp",` +
		`"portal":"[2001:db8::1]:3260","target":"` + targetName + `","lun":0,"user":"u","password-secret":"secret-u","initiator-name":"` + first + `"}}`; string(got.Blockdev) != want {
		t.Errorf("%s, want %s", got.Blockdev, want)
	}
	node := "iscsiadm -m node -T " + targetName + " -p 192.0.2.1:3260"
	if len(got.Commands) != 14 || got.Commands[7] != node+" -o new" || got.Commands[13] != node+" --login" ||
		!slices.Contains(got.Commands, node+" -o update -n node.session.auth.password_in -v p3er") {
		t.Errorf("%q", got.Commands)
	}
	if want := "<disk type='network' device='disk'><driver name='qemu' type='raw' discard='unmap'/><source protocol='iscsi' name='" + targetName + "/0'>" +
		"<host name='2001:db8::1' port='3260'/><auth username='u'><secret type='iscsi' usage='elstore-u'/></auth><initiator><iqn name='" + first +
		"'/></initiator></source><target dev='vda' bus='virtio'/><readonly/></disk>"; got.Libvirt.Disk != want {
		t.Errorf("%s, want %s", got.Libvirt.Disk, want)
	}

	plain := access(targetName, portals[1:], export.Record{Initiator: first}, "sata")
	if plain.URI != "iscsi://192.0.2.1:3260/"+targetName+"/0" || plain.Object != nil || len(plain.Commands) != 2 || plain.Libvirt.Secret != "" || plain.Secret != "" {
		t.Errorf("without CHAP: %+v", plain)
	}
	for _, a := range []export.Access{got, plain} {
		for _, text := range []string{a.Libvirt.Disk, a.Libvirt.Secret} {
			for d := xml.NewDecoder(strings.NewReader(text)); ; {
				if _, err := d.Token(); err == io.EOF { //nolint:errorlint // as Token documents it
					break
				} else if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
		}
		if !json.Valid(a.Blockdev) {
			t.Errorf("%s", a.Blockdev)
		}
	}
}

func TestPortals(t *testing.T) {
	addr := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 3260} }
	for _, tt := range []struct {
		name       string
		listeners  []net.Addr
		advertised []string
		want       []string // nil: refused
	}{
		{"as it listens", []net.Addr{addr("127.0.0.1"), addr("2001:db8::1")}, nil, []string{"127.0.0.1:3260", "[2001:db8::1]:3260"}},
		{"as is advertised", []net.Addr{addr("0.0.0.0")}, []string{"storage.example:3260"}, []string{"storage.example:3260"}},
		{"no port", []net.Addr{addr("0.0.0.0")}, []string{"storage.example"}, nil},
		{"no host", []net.Addr{addr("0.0.0.0")}, []string{":3260"}, nil},
	} {
		got, err := Portals(tt.listeners, tt.advertised)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	got, err := Portals([]net.Addr{addr("0.0.0.0")}, nil)
	if err != nil || len(got) == 0 || slices.Contains(got, "0.0.0.0:3260") {
		t.Errorf("a wildcard is %q, %v", got, err)
	}
}

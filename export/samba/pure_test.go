package samba

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"

	"elstore/export"
	"elstore/export/iscsi/login"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestNTHash(t *testing.T) {
	// [MS-NLMP] section 4.2.2.1.2.
	if sum := ntHash("Password"); hex.EncodeToString(sum[:]) != "a4f49c406510bdcab6824ee7c30fd852" {
		t.Errorf("%x", sum)
	}
}

func TestGlobalConf(t *testing.T) {
	at := func(text string) *net.TCPAddr {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	tests := []struct {
		name   string
		at     *net.TCPAddr
		guests bool
		has    []string
		lacks  []string
	}{
		{
			"one address", at("127.0.0.1:4450"), false,
			[]string{"smb ports = 4450", "interfaces = 127.0.0.1", "bind interfaces only = yes", "map to guest = Never", "restrict anonymous = 2"},
			[]string{"Bad User"},
		},
		{"all addresses", at("0.0.0.0:445"), false, []string{"smb ports = 445"}, []string{"interfaces ="}},
		{"all addresses of both kinds", at(":445"), false, []string{"smb ports = 445"}, []string{"interfaces ="}},
		{"IPv6", at("[::1]:445"), false, []string{"interfaces = ::1"}, nil},
		{"guests", at("127.0.0.1:445"), true, []string{"map to guest = Bad User"}, []string{"restrict anonymous"}},
	}
	always := []string{"server min protocol = SMB2_10", "server signing = mandatory", "valid users = %S", "guest ok = no", "include = registry", "registry shares = yes", "oplocks = no", "strict sync = yes"}
	for _, tt := range tests {
		got := string(globalConf(tt.at, tt.guests))
		for _, line := range append(tt.has, always...) {
			if !strings.Contains(got, "\t"+line+"\n") {
				t.Errorf("%s: no %q in\n%s", tt.name, line, got)
			}
		}
		for _, text := range tt.lacks {
			if strings.Contains(got, "\t"+text) {
				t.Errorf("%s: %q in\n%s", tt.name, text, got)
			}
		}
	}
}

func TestUsersAndShares(t *testing.T) {
	list := []share{{name: "v1", uid: firstUID + 1, hash: ntHash("Password")}, {name: "v2", uid: firstUID + 2, readonly: true, guests: true}}
	for name, tt := range map[string]struct{ got, want string }{
		"shares": {
			string(registryConf(list, []string{"v0"}, ownValues)),
			"Windows Registry Editor Version 5.00\n\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Samba\\smbconf\\v0]\n" +
				"\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Samba\\smbconf\\v1]\n" +
				"\"path\"=\"/volumes/v1\"\n" +
				"\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Samba\\smbconf\\v2]\n" +
				"\"path\"=\"/volumes/v2\"\n\"read only\"=\"yes\"\n\"valid users\"=\"v2 guest\"\n\"guest ok\"=\"yes\"\n" +
				"\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Samba\\smbconf]\n",
		},
		"passwd": {
			string(passwdConf(list)),
			"root:x:0:0::/:/nonexistent\nguest:x:1073741824:1073741824::/:/nonexistent\n" +
				"v1:x:1073741825:1073741825::/:/nonexistent\nv2:x:1073741826:1073741826::/:/nonexistent\n",
		},
		"group": {string(groupConf(list)), "root:x:0:\nguest:x:1073741824:\nv1:x:1073741825:\nv2:x:1073741826:\n"},
		"smbpasswd": {
			string(smbpasswdConf(list[:1])),
			"v1:1073741825:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:A4F49C406510BDCAB6824EE7C30FD852:[U          ]:LCT-00000001:\n",
		},
	} {
		if tt.got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, tt.got, tt.want)
		}
	}
}

func TestAccess(t *testing.T) {
	r := export.Record{User: "v1", Secret: login.NewSecret("s3cret")}
	ro := r
	ro.ReadOnly = true
	tests := []struct {
		name, portal, uri, unc, smbclient, mount string
		record                                   export.Record
	}{
		{
			"IPv4", "192.0.2.1:4450", "smb://v1:s3cret@192.0.2.1:4450/v1/data.img", `\\192.0.2.1\v1\data.img`,
			"smbclient -p 4450 -U 'v1%s3cret' //192.0.2.1/v1", "mount -t cifs -o port=4450,username=v1,password=s3cret //192.0.2.1/v1 /mnt", r,
		},
		{
			"for reading", "store:445", "smb://v1:s3cret@store:445/v1/data.img", `\\store\v1\data.img`,
			"smbclient -p 445 -U 'v1%s3cret' //store/v1", "mount -t cifs -o port=445,ro,username=v1,password=s3cret //store/v1 /mnt", ro,
		},
		{
			"IPv6", "[2001:db8::1]:445", "smb://v1:s3cret@[2001:db8::1]:445/v1/data.img", `\\2001-db8--1.ipv6-literal.net\v1\data.img`,
			"smbclient -p 445 -I 2001:db8::1 -U 'v1%s3cret' //2001-db8--1.ipv6-literal.net/v1",
			"mount -t cifs -o port=445,ip=2001:db8::1,username=v1,password=s3cret //2001-db8--1.ipv6-literal.net/v1 /mnt", r,
		},
	}
	for _, tt := range tests {
		a := access(tt.portal, "data.img", &tt.record)
		if a.URI != tt.uri || a.UNC != tt.unc || a.Smbclient != tt.smbclient || a.Mount != tt.mount || a.User != "v1" || a.Secret != "s3cret" {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}

func TestFindPeer(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:115A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1
   1: 0100007F:115A 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 101 1
   2: 0100007F:0016 0200007F:D432 01 00000000:00000000 00:00000000 00000000     0        0 102 1
   3: 0000000000000000FFFF00000100007F:115A 0000000000000000FFFF00000300007F:D433 01 00000000:00000000 00:00000000 00000000     0        0 103 1
   4: bad:115A 0100007F:D434 01 00000000:00000000 00:00000000 00000000     0        0 104 1
   5: short`
	for inode, want := range map[string]string{"100": "", "101": "127.0.0.1:54321", "102": "", "103": "127.0.0.3:54323", "104": "", "105": ""} {
		got, ok := findPeer([]byte(table), map[string]bool{inode: true}, 0x115a)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v, want %q", inode, got, want)
		}
	}
}

func FuzzFindPeer(f *testing.F) {
	f.Add([]byte("0: 0100007F:115A 0100007F:D431 01 0 0 0 0 0 101"))
	f.Fuzz(func(t *testing.T, table []byte) {
		if at, ok := findPeer(table, map[string]bool{"101": true}, 0x115a); ok && !at.IsValid() {
			t.Errorf("%q has %v", table, at)
		}
	})
}

func TestMapped(t *testing.T) {
	for table, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"0 100000 65536\n":                   false,
		"0 0 1\n1 1 4294967294\n":            true,
		"0 0 1073741825\n":                   false,
		"":                                   false,
		"x y z\n":                            false,
	} {
		if got := mapped([]byte(table), firstUID, maxUsers); got != want {
			t.Errorf("%q: %t", table, got)
		}
	}
}

// whole is a machine that has everything.
func whole() machine {
	return machine{
		euid: 0, program: func(name string) (string, error) { return "/usr/sbin/" + name, nil }, uids: []byte("0 0 4294967295\n"),
		needs: ownPrograms, first: firstUID, count: maxUsers,
	}
}

func TestWhatAMachineLacks(t *testing.T) {
	tests := []struct {
		name   string
		change func(*machine)
		want   string
	}{
		{"nothing", func(*machine) {}, ""},
		{"root", func(m *machine) { m.euid = 1000 }, "runs as root"},
		{"a program", func(m *machine) {
			m.program = func(name string) (string, error) {
				if name == "smbd" {
					return "", fs.ErrNotExist
				}
				return name, nil
			}
		}, "need smbd, which"},
		{"FUSE", func(m *machine) { m.fuse = errors.New("no such device") }, "FUSE"},
		{"user ids", func(m *machine) { m.uids = []byte("0 100000 65536\n") }, "user ids"},
	}
	for _, tt := range tests {
		m := whole()
		tt.change(&m)
		err := m.lacks()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		l, lerr := net.Listen("tcp", "127.0.0.1:0")
		if lerr != nil {
			t.Fatal(lerr)
		}
		k, kerr := New(Config{Listener: l, Portals: []string{l.Addr().String()}})
		if kerr != nil {
			t.Fatal(kerr)
		}
		k.lacks = m.lacks
		var r export.Record
		err = k.Complete(&volume.Volume{}, &export.Request{}, &r)
		if tt.want == "" && err != nil || tt.want != "" && !fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: a request gets %v", tt.name, err)
		}
		if err := k.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestComplete(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k, err := New(Config{Listener: l, Portals: []string{"192.0.2.1:445"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	k.lacks = func() error { return nil }
	yes := true
	for name, q := range map[string]export.Request{
		"'initiator'": {Initiator: "iqn.2004-10.org.example:x"}, "'multipath'": {Multipath: &yes}, "'path'": {Path: true}, "'portals'": {Portals: []string{"192.0.2.2:445"}},
	} {
		if err := k.Complete(&volume.Volume{}, &q, nil); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var r export.Record
	if err := k.Complete(&volume.Volume{}, &export.Request{Portals: []string{"192.0.2.1:445"}}, &r); err != nil || len(r.User) != 16 || len(r.Secret.Reveal()) != 26 {
		t.Errorf("%+v, %v", r, err)
	}
	again := r
	if err := k.Complete(&volume.Volume{}, &export.Request{}, &again); err != nil || again.User != r.User || again.Secret.Equal(r.Secret) {
		t.Errorf("asked for a new secret: %+v, %v", again, err)
	}
	off, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := off.Complete(&volume.Volume{}, &export.Request{}, nil); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "--samba-listen") {
		t.Errorf("turned off: %v", err)
	}
	if _, err := New(Config{Listener: l}); err == nil {
		t.Error("no portals")
	}
}

package samba

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestDemand(t *testing.T) {
	good := map[string]string{
		"registry shares": "Yes", "server role": "auto", "security": "AUTO", "server min protocol": "SMB2", "server signing": "required", "map to guest": "Never",
	}
	tests := []struct {
		name, key, value string
		guests           bool
		want             string
	}{
		{name: "what we ask for"},
		{name: "a standalone server", key: "server role", value: "standalone server"},
		{name: "SMB 3", key: "server min protocol", value: "SMB3_11"},
		{name: "guests", guests: true, key: "map to guest", value: "Bad User"},
		{name: "no guests", guests: true, want: "map to guest = Bad User"},
		{name: "other guests", guests: true, key: "map to guest", value: "Bad Password", want: "map to guest = Bad User"},
		{name: "no registry", key: "registry shares", value: "No", want: "include = registry"},
		{name: "a member of a domain", key: "server role", value: "member server", want: "server role = standalone server"},
		{name: "a domain controller", key: "server role", value: "active directory domain controller", want: "server role = standalone server"},
		{name: "a directory's users", key: "security", value: "ADS", want: "security = user"},
		{name: "SMB 2.0", key: "server min protocol", value: "SMB2_02", want: "server min protocol = SMB2_10"},
		{name: "SMB 1", key: "server min protocol", value: "NT1", want: "server min protocol = SMB2_10"},
		{name: "signing as the client wants", key: "server signing", value: "if_required", want: "server signing = mandatory"},
		{name: "nothing that is known", key: "server signing", want: "server signing = mandatory"},
	}
	for _, tt := range tests {
		global := maps.Clone(good)
		if tt.key != "" {
			global[tt.key] = tt.value
		}
		err := demand(global, tt.guests)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Count(err.Error(), "; set") != 1) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := demand(nil, true); err == nil || strings.Count(err.Error(), "; set") != 6 {
		t.Errorf("of nothing: %v", err)
	}
}

func TestParseSections(t *testing.T) {
	const text = "# comment\nkey = before\n[global]\n\tServer Role = standalone server\n\tempty =\n\n[a share]\n\tpath = /a=b\n\tcomment = elstore x\nno setting\n[]\n"
	got := parseSections([]byte(text))
	if len(got) != 3 || got[1].name != "a share" || got[1].settings["path"] != "/a=b" || got[1].settings["comment"] != "elstore x" || got[2].name != "" {
		t.Errorf("%+v", got)
	}
	if g := parseGlobal([]byte(text)); g["server role"] != "standalone server" || g["empty"] != "" || len(g) != 2 {
		t.Errorf("%+v", g)
	}
	if g := parseGlobal([]byte("[share]\n\tserver role = x\n")); len(g) != 0 {
		t.Errorf("%+v", g)
	}
}

func FuzzParseSections(f *testing.F) {
	f.Add([]byte("[global]\n\ta = b\n[x]\nc=d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range parseSections(text) {
			for key := range s.settings {
				if key != strings.TrimSpace(key) || strings.ContainsAny(key, "=\n") {
					t.Errorf("%q has the key %q", text, key)
				}
			}
		}
	})
}

func TestParseAccounts(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nbad line\nv1:x:1879048192:65534:elstore 1:/nonexistent:/usr/sbin/nologin\nv2:x:-1:0:elstore 1:/:/\nv3:x:1:1:\n"
	want := []account{{"root", 0, "root"}, {"v1", 1879048192, "elstore 1"}, {"v3", 1, ""}}
	if got := parseAccounts([]byte(passwd)); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestPickUID(t *testing.T) {
	first := pickUID("v1", func(uint32) bool { return false })
	if again := pickUID("v1", func(uint32) bool { return false }); again != first {
		t.Errorf("first %d, then %d", first, again)
	}
	if other := pickUID("v1", func(uid uint32) bool { return uid == first }); other == first || other < firstSystemUID || other >= firstSystemUID+maxSystemUsers {
		t.Errorf("taken: %d", other)
	}
	if last := uint64(firstSystemUID + maxSystemUsers - 1); 2*last+1001 > 1<<32-1 {
		t.Errorf("of %d smbd can't make a relative id", last)
	}
}

func TestMountedAt(t *testing.T) {
	const table = `29 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
90 29 0:70 / /run/a rw shared:2 - fuse.elstore elstore rw
91 29 0:71 / /run/a rw shared:2 - fuse.elstore elstore rw
92 29 0:72 / /run/with\040blank rw shared:2 - fuse.elstore elstore rw
short line
`
	for dir, want := range map[string]string{"/run/a": "0:71", "/run/with blank": "0:72", "/": "254:1", "/run": "", "/run/a/b": ""} {
		if got := mountedAt([]byte(table), dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestSystemValues(t *testing.T) {
	y := &System{Dir: "/d", Mark: "elstore 1"}
	for name, tt := range map[string]struct {
		share share
		want  []setting
	}{
		"writable":   {share{name: "v1"}, []setting{{"path", "/d/volumes/v1"}, {"comment", "elstore 1"}, {"read only", "no"}, {"guest ok", "no"}, {"valid users", "v1"}, {"force user", ""}}},
		"read-only":  {share{name: "v1", readonly: true}, []setting{{"read only", "yes"}, {"oplocks", "no"}}},
		"for guests": {share{name: "v1", guests: true}, []setting{{"valid users", "v1 nobody"}, {"guest ok", "yes"}, {"guest only", "no"}}},
	} {
		got := y.values(tt.share, "nobody")
		for _, want := range tt.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %v has no %v", name, got, want)
			}
		}
	}
}

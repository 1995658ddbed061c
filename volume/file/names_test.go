package file

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseNames(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	tests := []struct {
		name          string
		volume, stage bool
	}{
		{"vid." + id + ".elimg", true, false},
		{".vid." + id + ".elimg.new", false, true},
		{"vid." + strings.ToUpper(id) + ".elimg", false, false},
		{"vid.01234567-89ab-cdef-0123-456789abcdef.elimg", false, false},
		{"vid." + id + ".elimg.new", false, false},
		{".vid." + id + ".elimg", false, false},
		{"vid." + id[1:] + ".elimg", false, false},
		{"vid." + id + "0.elimg", false, false},
		{"vid." + id + "xelimg", false, false},
		{"vid." + id[1:] + "/.elimg", false, false},
		{"vid.", false, false},
		{"", false, false},
	}
	for _, tt := range tests {
		v, isVolume := parseVolumeName(tt.name)
		s, isStage := parseStageName(tt.name)
		if isVolume != tt.volume || isStage != tt.stage {
			t.Errorf("%q: volume %t, stage %t", tt.name, isVolume, isStage)
		}
		if isVolume && v.String() != id || isStage && s.String() != id {
			t.Errorf("%q: ids %s, %s", tt.name, v, s)
		}
	}
}

func TestParseMarkName(t *testing.T) {
	tests := []struct {
		name, purpose string
		ok            bool
	}{
		{"elemento.convert.abc.ignore", "convert", true},
		{"elemento.a.b.c.ignore", "a", true},
		{mark{Purpose: "Resize!"}.fileName(), "resize", true},
		{mark{Purpose: "../../etc"}.fileName(), "etc", true},
		{mark{Purpose: "ÄÖ"}.fileName(), "operation", true},
		{mark{Purpose: strings.Repeat("x", 1000)}.fileName(), strings.Repeat("x", 32), true},
		{"elemento.convert.ignore", "", false},
		{"elemento..abc.ignore", "", false},
		{"elemento.3.expected", "", false},
		{"elemento.ignore", "", false},
		{"convert.abc.ignore", "", false},
	}
	for _, tt := range tests {
		if purpose, ok := parseMarkName(tt.name); ok != tt.ok || ok && purpose != tt.purpose {
			t.Errorf("%q: %q, %t, want %q, %t", tt.name, purpose, ok, tt.purpose, tt.ok)
		}
	}
}

func TestParseBaseName(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	tests := []struct {
		name, format string
		ok           bool
	}{
		{sum + ".img", "raw", true},
		{sum + ".qcow2", "qcow2", true},
		{sum + ".vmdk", "", false},
		{sum, "", false},
		{strings.ToUpper(sum) + ".img", "", false},
		{sum[1:] + ".img", "", false},
		{sum + "0.img", "", false},
		{"../" + sum + ".img", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if format, ok := parseBaseName(tt.name); ok != tt.ok || format != tt.format {
			t.Errorf("%q: %q, %t, want %q, %t", tt.name, format, ok, tt.format, tt.ok)
		}
	}
}

func TestParseStartTime(t *testing.T) {
	tests := []struct {
		name, stat string
		want       uint64
		ok         bool
	}{
		{"plain", "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 77 1000 10", 77, true},
		{"a name with all signs", "1 (a) b ) (c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 77 1000 10", 77, true},
		{"short", "1 (init) S 0 1 1", 0, false},
		{"no name", "1 init S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 77 1000 10", 0, false},
		{"no number", "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 x 1000 10", 0, false},
		{"empty", "", 0, false},
	}
	for _, tt := range tests {
		if got, ok := parseStartTime([]byte(tt.stat)); ok != tt.ok || got != tt.want {
			t.Errorf("%s: %d, %t, want %d, %t", tt.name, got, ok, tt.want, tt.ok)
		}
	}
	if me := whoami("s"); me.PID != os.Getpid() || me.Started == 0 || me.BootID == "" || me.Host == "" {
		t.Errorf("this process is %+v", me)
	}
}

func FuzzNames(f *testing.F) {
	for _, seed := range []string{
		"vid.0123456789abcdef0123456789abcdef.elimg", ".vid.0123456789abcdef0123456789abcdef.elimg.new",
		"elemento.convert.abc.ignore", strings.Repeat("ab", 32) + ".qcow2", "data.img", ".tmp-X", ".deleted", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if id, ok := parseVolumeName(name); ok && volumeName(id) != name {
			t.Errorf("%q is volume %s", name, id)
		}
		if id, ok := parseStageName(name); ok && stageName(id) != name {
			t.Errorf("%q is stage %s", name, id)
		}
		if purpose, ok := parseMarkName(name); ok && !strings.HasPrefix(name, "elemento."+purpose+".") {
			t.Errorf("%q is of purpose %q", name, purpose)
		}
		if _, ok := parseBaseName(name); ok && strings.ContainsAny(name, "/\x00") {
			t.Errorf("%q is a base image", name)
		}
		if base, ok := cutBase(name); ok && "../elemento-base/"+base != name {
			t.Errorf("%q is the base %q", name, base)
		}
		if w := word(name); w == "" || len(w) > 32 || strings.ContainsAny(w, "./\x00") || !utf8.ValidString(w) {
			t.Errorf("%q becomes the word %q", name, w)
		}
		var c contents
		c.sort(name)
	})
}

func FuzzMark(f *testing.F) {
	f.Add(mark{Host: "h", PID: 1, Purpose: "resize", Before: 1, After: 2}.encode())
	f.Add([]byte(`{"before":1e30}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, ok := parseMark(data)
		if !ok {
			return
		}
		again, ok := parseMark(m.encode())
		if !ok || !bytes.Equal(again.encode(), m.encode()) {
			t.Errorf("%q becomes %s", data, m.encode())
		}
	})
}

func FuzzSmallFiles(f *testing.F) {
	for _, seed := range []string{`{"isotype":"tool"}`, `{"isotype":7}`, `{"time":"2026-01-02T03:04:05Z"}`, "", "1 (a) S 1 2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if iso := parseISOType(data); len(iso) > 64 {
			t.Errorf("isotype of %d bytes", len(iso))
		}
		var d deletion
		if json.Unmarshal(data, &d) == nil {
			_ = d.Time.UTC()
		}
		parseStartTime(data)
	})
}

func TestParseISOType(t *testing.T) {
	for data, want := range map[string]string{
		`{"isotype":"tool","scope":"driver"}`: "tool", `{"isotype":"os_generic"}`: "os_generic",
		`{}`: "", `{"isotype":1}`: "", `{"isotype":"` + strings.Repeat("x", 65) + `"}`: "", ``: "", `[]`: "",
	} {
		if got := parseISOType([]byte(data)); got != want {
			t.Errorf("%.40s: %q, want %q", data, got, want)
		}
	}
}

func TestContents(t *testing.T) {
	var c contents
	for _, name := range []string{"meta.json", "isoinfo.json", ".deleted", ".tmp-X", "data.img", "data.qcow2", "elemento.a.b.ignore", ".lock", "upload.part", "x"} {
		c.sort(name)
	}
	if !c.meta || !c.iso || !c.deleted || len(c.temps) != 1 || len(c.data) != 2 || len(c.marks) != 1 {
		t.Errorf("%+v", c)
	}
	for _, tt := range []struct {
		c         contents
		live, bin bool
	}{
		{contents{meta: true}, false, false},
		{contents{meta: true, deleted: true}, true, false},
		{contents{meta: true, marks: []string{"x"}}, true, true},
		{contents{meta: true, temps: []string{"x"}}, true, true},
	} {
		if tt.c.odd(false) != tt.live || tt.c.odd(true) != tt.bin {
			t.Errorf("%+v is odd in its place: %t, in the bin: %t", tt.c, tt.c.odd(false), tt.c.odd(true))
		}
	}
}

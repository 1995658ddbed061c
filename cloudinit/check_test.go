package cloudinit_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"elstore/cloudinit"
	"elstore/volume/fault"
)

func zipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.Bytes()
}

// gzipPart is a message with a part, a number of times, that is gzip.
func gzipPart(kind, content string, times int) string {
	part := "--B\nContent-Type: " + kind + "\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString(zipped(content)) + "\n"
	return message + strings.Repeat(part, times) + "--B--\n"
}

const message = "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n"

func TestCheckTakes(t *testing.T) {
	tests := []struct{ name, file, content string }{
		{"empty", "user-data", ""},
		{"cloud-config", "user-data", "#cloud-config\nhostname: a\npackages: [vim]\nruncmd:\n- [ls, -l]\n- echo\n"},
		{"empty cloud-config", "user-data", "#cloud-config\n"},
		{"CRLF", "user-data", "#cloud-config\r\nhostname: a\r\n"},
		{"anchors", "user-data", "#cloud-config\nx: &a [1]\nruncmd: *a\n"},
		{"merged", "user-data", "#cloud-config\nx: &a {path: /x}\nwrite_files:\n- {<<: *a, content: c}\n"},
		{"the same key twice, as Python takes it", "user-data", "#cloud-config\nhostname: a\nhostname: b\n"},
		{"script", "user-data", "#!/bin/sh\nexit 0\n"},
		{"include", "user-data", "#include\n# why\nhttps://example.com/a\n\n"},
		{"template", "user-data", "## template: jinja\n#cloud-config\nhostname: {{ v1.local_hostname }}\n"},
		{"boothook", "user-data", "#cloud-boothook\n#!/bin/sh\n"},
		{"archive", "user-data", "#cloud-config-archive\n- type: text/cloud-config\n  content: a\n"},
		{"gzip", "user-data", string(zipped("#cloud-config\nhostname: a\n"))},
		{"gzip in gzip", "user-data", string(zipped(string(zipped("#!/bin/sh\n"))))},
		{"MIME", "user-data", message + "--B\nContent-Type: text/cloud-config\n\nhostname: a\n--B\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--B--\n"},
		{"MIME base64", "user-data", message + "--B\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\naG9zdG5hbWU6IGEK\n--B--\n"},
		{"MIME of gzip", "user-data", gzipPart("application/gzip", "#cloud-config\nhostname: a\n", 2)},
		{"one part", "user-data", "Content-Type: text/x-shellscript\nMIME-Version: 1.0\n\n#!/bin/sh\n"},
		{"vendor-data", "vendor-data", "#cloud-config\n{}\n"},
		{"meta-data", "meta-data", "instance-id: i\nlocal-hostname: h\n"},
		{"meta-data as JSON", "meta-data", `{"instance-id": "i", "public-keys": ["k"]}`},
		{"empty meta-data", "meta-data", ""},
		{"version 1", "network-config", "version: 1\nconfig:\n- type: physical\n  name: eth0\n  subnets: [{type: dhcp}]\n- {type: nameserver, address: 1.1.1.1}\n"},
		{"version 2", "network-data", "network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true}\n"},
		{"disabled", "network-config", "network:\n  config: disabled\n"},
		{"a script of its own", "script_a.sh", "whatever\x00\xff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := cloudinit.Check(tt.file, []byte(tt.content)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name, file, content string
		line                int
		says                string // in the sentence
	}{
		{"a secret in the wrong place", "user-data", "password: hunter2\n", 1, `the first line is "password:…"; expected`},
		{"a bare secret", "user-data", "0123456789abcdef0123456789abcdef\n", 1, `the first line is "0123456789abcdef…"`},
		{"plain text", "user-data", "hello\n", 1, "#cloud-config"},
		{"YAML without end", "user-data", "#cloud-config\na: [" + strings.Repeat("a,", 512<<10) + "]\n", 0, "at most 524288 are read"},
		{"HTML", "user-data", "<html>\n", 1, `the first line is "<html>"`},
		{"almost", "user-data", "#cloud-config: \nhostname: a\n", 1, "alone on its line"},
		{"byte order mark", "user-data", "\ufeff#cloud-config\n", 1, "byte order mark"},
		{"bad YAML", "user-data", "#cloud-config\nhostname: a\nruncmd:\n - a\n- b\n", 5, "YAML"},
		{"tab", "user-data", "#cloud-config\nhostname: a\n\tpackages: b\n", 3, "YAML"},
		{"a list", "user-data", "#cloud-config\n- a\n", 2, "a mapping was expected"},
		{"a text for a list", "user-data", "#cloud-config\nhostname: a\npackages: vim\n", 3, "packages is a text; a list was expected"},
		{"a file without a path", "user-data", "#cloud-config\nwrite_files:\n- path: /a\n- content: b\n", 4, "path"},
		{"a user without a name", "user-data", "#cloud-config\nusers:\n- default\n- sudo: x\n", 4, "name"},
		{"not UTF-8", "user-data", "#cloud-config\na: b\nc: \xff\n", 3, "UTF-8"},
		{"relative interpreter", "user-data", "#!sh\n", 1, "absolute path"},
		{"include of no URL", "user-data", "#include\nhttps://a\nnothing\n", 3, "URL"},
		{"another engine", "user-data", "## template: mako\n#cloud-config\n", 1, "jinja"},
		{"template of nothing", "user-data", "## template: jinja\nhello\n", 2, "#cloud-config"},
		{"broken gzip", "user-data", "\x1f\x8bxxxx", 0, "gzip"},
		{"in gzip in MIME", "user-data", gzipPart("application/x-gzip", "#cloud-config\na: [\n", 1), 2, "YAML"},
		{"no gzip in MIME", "user-data", message + "--B\nContent-Type: application/gzip\n\nx\n--B--\n", 0, "gzip"},
		{"in gzip", "user-data", string(zipped("#cloud-config\na: [\n")), 2, "YAML"},
		{"no boundary", "user-data", "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--B\n", 2, "no boundary"},
		{"bad content type", "user-data", "Content-Type: ;;\n\nx", 1, "Content-Type"},
		{"no part", "user-data", message + "--B--\n", 0, "no part"},
		{"cut off", "user-data", message + "--B\nContent-Type: text/cloud-config\n\nhostname: a\n", 0, "part 1"},
		{"bad part", "user-data", message + "--B\nContent-Type: text/cloud-config\n\nhostname: a\npackages: b\n--B--\n", 2, "user-data part 1"},
		{"script part", "user-data", message + "--B\nContent-Type: text/x-shellscript\n\necho\n--B--\n", 1, "#!"},
		{"bad base64 part", "user-data", message + "--B\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n????\n--B--\n", 0, "part 1"},
		{"meta-data list", "meta-data", "- a\n", 1, "mapping"},
		{"meta-data id", "meta-data", "a: b\ninstance-id: [x]\n", 2, "instance-id is a list"},
		{"bad JSON", "meta-data", `{"a": "b"`, 1, "YAML"},
		{"bad JSON further down", "meta-data", "{\"a\": \"b\",\n\"c\": [}\n", 1, "YAML"},
		{"no version", "network-config", "ethernets: {}\n", 1, "version is missing"},
		{"version 3", "network-data", "version: 3\n", 1, "1 or 2"},
		{"no config", "network-config", "version: 1\n", 1, "config is missing"},
		{"odd type", "network-config", "version: 1\nconfig:\n- type: token\n", 3, "physical"},
		{"no name", "network-config", "version: 1\nconfig:\n- type: physical\n", 3, "no name"},
		{"odd class", "network-config", "version: 2\nethernet:\n  a: {}\n", 2, "ethernets"},
		{"addresses", "network-config", "version: 2\nethernets:\n  eth0:\n    addresses: 1.2.3.4\n", 4, "a list was expected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := cloudinit.Check(tt.file, []byte(tt.content))
			bad, ok := errors.AsType[*cloudinit.InvalidError](err)
			if !ok || !fault.Is(err, fault.CloudInitMetadataUploadFailed) {
				t.Fatalf("got %v", err)
			}
			if !strings.HasPrefix(bad.File, tt.file) || tt.line != 0 && bad.Line != tt.line || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %+v (%v), want line %d and %q", bad, err, tt.line, tt.says)
			}
			if bad.Line > 0 && !strings.Contains(err.Error(), "line ") {
				t.Errorf("%v names no line", err)
			}
		})
	}
}

func TestCheckBounds(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../../evil", "a/b", "a\x00b", "a\nb", strings.Repeat("x", 300), "elemento.3.expected", ".tmp-x", `a\b`} {
		if err := cloudinit.Check(name, nil); !fault.Is(err, fault.BadRequest) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := cloudinit.Check("a", make([]byte, 20<<20)); !fault.Is(err, fault.BodyTooLarge) || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("20 MB: %v", err)
	}
	if err := cloudinit.Check("user-data", zipped(strings.Repeat("\n", 20<<20))); !fault.Is(err, fault.BodyTooLarge) {
		t.Errorf("20 MB in gzip: %v", err)
	}
	for _, kind := range []string{"application/gzip", "text/plain"} { // each part for itself is within the bound
		if err := cloudinit.Check("user-data", []byte(gzipPart(kind, "#!/bin/sh\n"+strings.Repeat("\n", 6<<20), 3))); !fault.Is(err, fault.BodyTooLarge) {
			t.Errorf("18 MB in gzip parts of %s: %v", kind, err)
		}
	}
	embedded := "#cloud-config\nwrite_files:\n- path: /a\n  content: |\n" + strings.Repeat("    "+strings.Repeat("x", 76)+"\n", 50_000)
	if err := cloudinit.Check("user-data", []byte(embedded)); err != nil {
		t.Errorf("a cloud-config with a file of 4 MB in it: %v", err)
	}
	for _, n := range []int{-1, 0, 1, 65, 1_000_000} {
		if err := cloudinit.CheckExpected(n); !fault.Is(err, fault.BadRequest) {
			t.Errorf("expecting %d: %v", n, err)
		}
	}
	deep := "#!/bin/sh\n"
	for range 12 {
		deep = string(zipped(deep))
	}
	if err := cloudinit.Check("user-data", []byte(deep)); !fault.Is(err, fault.CloudInitMetadataUploadFailed) {
		t.Errorf("too deep: %v", err)
	}
}

// FuzzCheck checks anything: taken, or refused with one of three codes.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"#cloud-config\nusers: [{name: a}]\n", "#include\nhttp://a\n", message + "--B\n\n#!/bin/sh\n--B--\n", "version: 2\nethernets: {a: {addresses: []}}\n",
		string(zipped("#cloud-config\n")), "#cloud-config\na: &a [*a]\n", "#cloud-config\nwrite_files: &x [*x]\n", "#cloud-config\nusers: &x\n- *x\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"user-data", "meta-data", "network-config"} {
			err := cloudinit.Check(name, []byte(s))
			if err != nil && !fault.Is(err, fault.CloudInitMetadataUploadFailed) && !fault.Is(err, fault.BodyTooLarge) {
				t.Fatalf("%s: %v", name, err)
			}
			if name == "meta-data" && err == nil {
				cloudinit.InstanceID([]byte(s))
			}
		}
	})
}

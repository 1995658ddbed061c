package cloudinit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// What cloud-init 22.4.2 said of cloud-configs.
func TestSchemaError(t *testing.T) {
	for name, tt := range map[string]struct{ said, place, says string }{
		"good":     {"Valid cloud-config: /dev/stdin\n", "", ""},
		"type":     {"Error:\nCloud config schema errors: hostname: ['a'] is not of type 'string', hostname: ['a'] is not of type 'string'\n", "hostname", "is not of type 'string'"},
		"types":    {"Error:\nCloud config schema errors: runcmd: 7 is not of type 'array', 'null'\n", "runcmd", "is not of type 'array', 'null'"},
		"several":  {"Error:\nCloud config schema errors: users.0: {'name': 5, 'hashed_passwd': 'secret'} is not valid under any of the given schemas, ntp.servers: {} is not of type 'array'\n", "users.0", "does not fit"},
		"choice":   {"Error:\nCloud config schema errors: power_state.mode: 'foo' is not one of ['poweroff', 'reboot', 'halt']\n", "power_state.mode", "is not one of ['poweroff', 'reboot', 'halt']"},
		"required": {"Error:\nCloud config schema errors: write_files.0: 'path' is a required property\n", "write_files.0", "lacks a key that is required"},
		"unknown":  {"Error:\nCloud config schema errors: write_files.0: Additional properties are not allowed ('a' was unexpected)\n", "write_files.0", "has a key that is not known"},
		"whole":    {"Error:\nCloud config schema errors: : Additional properties are not allowed ('a', 'b' were unexpected)\n", "the document", "has a key that is not known"},
		"no YAML":  {"Error:\nCloud config schema errors: format-l3.c1: File /dev/stdin is not valid yaml. while parsing a flow node\n", "the document", "is not valid YAML"},
		"broken":   {"Traceback (most recent call last):\n", "", ""},
	} {
		place, says, ok := schemaError(tt.said)
		if place != tt.place || says != tt.says || ok != (tt.says != "") {
			t.Errorf("%s: %q %q %v", name, place, says, ok)
		}
	}
}

// cloudInit is a Schema with a program in cloud-init's place.
func cloudInit(t *testing.T, script string) *Schema {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cloud-init"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return FindSchema()
}

func TestSchemaCheck(t *testing.T) {
	refuses := cloudInit(t, `[ "$*" = "schema --config-file /dev/stdin" ] || exit 2
grep -q 'mode: foo' || exit 0
echo "Error: Cloud config schema errors: users.1.mode: 'secret' is not one of ['a', 'b']" >&2
exit 1`)
	bad := "#cloud-config\nusers:\n- default\n- &u\n  name: a\n  mode: foo\n"
	for name, tt := range map[string]struct {
		schema     *Schema
		file, data string
		says       string // "" is good
	}{
		"bad":                  {refuses, "user-data", bad, "user-data line 6: users.1.mode is not one of ['a', 'b'], says cloud-init's own schema"},
		"vendor-data":          {refuses, "vendor-data", bad, "vendor-data line 6: users.1.mode"},
		"good":                 {refuses, "user-data", "#cloud-config\nhostname: a\n", ""},
		"no cloud-config":      {refuses, "user-data", "#!/bin/sh\n# mode: foo\n", ""},
		"another file":         {refuses, "meta-data", bad, ""},
		"none installed":       {nil, "user-data", bad, ""},
		"one that is damaged":  {cloudInit(t, "echo Traceback; exit 1"), "user-data", bad, ""},
		"one that can't start": {&Schema{"/nowhere/cloud-init", make(chan struct{}, 1)}, "user-data", bad, ""},
	} {
		err := tt.schema.Check(t.Context(), tt.file, []byte(tt.data))
		if tt.says == "" && err != nil || tt.says != "" && (!fault.Is(err, fault.CloudInitMetadataUploadFailed) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if FindSchema() != nil {
		t.Error("a cloud-init is found where none is")
	}
}

func TestLineOf(t *testing.T) {
	data := []byte("#cloud-config\na:\n  b:\n  - x\n  - c: 1\n")
	for place, want := range map[string]int{"a": 3, "a.b.1.c": 5, "a.b.0": 4, "a.b.7": 0, "a.x": 0, "the document": 0} {
		if got := lineOf(data, place); got != want {
			t.Errorf("%s is in line %d, want %d", place, got, want)
		}
	}
}

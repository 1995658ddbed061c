package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func flagsForTest() (*pflag.FlagSet, *string, *[]string) {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.String(configFlag, "", "")
	listen := f.String("listen", "default", "")
	dirs := f.StringArray("import-dir", nil, "")
	f.Duration("grace", 0, "")
	return f, listen, dirs
}

func TestConfigure(t *testing.T) {
	file := filepath.Join(t.TempDir(), "elstore.yaml")
	if err := os.WriteFile(file, []byte("listen: from-file\nimport-dir: [/a, /b]\ngrace: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args   []string
		env    map[string]string
		listen string
		dirs   []string
	}{
		"nothing":                     {nil, nil, "default", nil},
		"a file":                      {[]string{"--config", file}, nil, "from-file", []string{"/a", "/b"}},
		"a file of the environment":   {nil, map[string]string{"ELSTORE_CONFIG": file}, "from-file", []string{"/a", "/b"}},
		"environment before the file": {[]string{"--config", file}, map[string]string{"ELSTORE_LISTEN": "from-env"}, "from-env", []string{"/a", "/b"}},
		"the command line before all": {[]string{"--config", file, "--listen", "x", "--import-dir", "/c"}, map[string]string{"ELSTORE_LISTEN": "y"}, "x", []string{"/c"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, listen, dirs := flagsForTest()
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := configure(f, func(key string) (string, bool) { v, ok := tt.env[key]; return v, ok })
			if err != nil || *listen != tt.listen || !slices.Equal(*dirs, tt.dirs) {
				t.Errorf("listen %s, dirs %v, %v", *listen, *dirs, err)
			}
		})
	}
}

func TestConfigureRefuses(t *testing.T) {
	tests := map[string]struct{ file, says string }{
		"unknown key": {"listne: x", "listne"},
		"bad value":   {"grace: soon", "grace"},
		"a map":       {"listen: {a: b}", "plain value"},
		"twice":       {"listen: a\nlisten: b", "already defined"},
		"itself":      {"config: x", "config"},
		"not YAML":    {"{", "configuration"},
		"too large":   {"listen: " + strings.Repeat("x", maxConfig), "bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			f, _, _ := flagsForTest()
			if err := f.Set(configFlag, path); err != nil {
				t.Fatal(err)
			}
			err := configure(f, func(string) (string, bool) { return "", false })
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
	f, _, _ := flagsForTest()
	if err := configure(f, func(key string) (string, bool) { return "soon", key == "ELSTORE_GRACE" }); err == nil || !strings.Contains(err.Error(), "ELSTORE_GRACE") {
		t.Errorf("error %v", err)
	}
	if err := f.Set(configFlag, filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Fatal(err)
	}
	if err := configure(f, func(string) (string, bool) { return "", false }); err == nil {
		t.Error("a file that is not there")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("listen: a\nimport-dir:\n- b\n"))
	f.Add([]byte("a: &x [*x]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		settings, err := parseConfig(data)
		if err != nil && settings != nil {
			t.Error("settings beside an error")
		}
	})
}

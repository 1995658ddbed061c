package arch

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheTreeKeepsTheRules(t *testing.T) {
	findings, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
}

// file is a Go file of a package with a comment.
func file(pkg string, lines ...string) string {
	return "// Package " + pkg + " is made for a test.\npackage " + pkg + "\n" + strings.Join(lines, "\n") + "\n"
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // the beginnings of the findings, all of them
	}{
		{"what is listed", map[string]string{
			"volume/file/a.go":      file("file", `import "elstore/volume"`, `import "elstore/volume/qemu"`),
			"export/lun/a.go":       file("lun", `import "elstore/export/iscsi/pdu"`, `import "elstore/export"`),
			"api/v1/a.go":           file("v1", `import "elstore/pool"`, `import "elstore/api/rest"`, `import "net/http"`),
			"volume/fetch/a.go":     file("fetch", `import "net/http"`, `import "elstore/volume/fault"`),
			"cmd/elstore/main.go":   "// Command elstore is made for a test.\npackage main\nimport \"elstore/volume/rbd\"\n",
			"test/e2e/helper.go":    file("e2e", `import "elstore/api/v1"`, `import "testing"`),
			"volume/a.go":           file("volume"),
			"volume/qemu/b_test.go": file("qemu", `import "elstore/pool"`, `import "net/http"`),
		}, nil},
		{"a leaf imports", map[string]string{
			"volume/keylock/a.go": file("keylock", `import "elstore/volume/fault"`),
		}, []string{"volume/keylock/a.go imports volume/fault; volume/keylock may import nothing of ours"}},
		{"volume imports what imports it", map[string]string{
			"volume/a.go": file("volume", `import "elstore/pool"`, `import "elstore/volume/file"`),
		}, []string{"volume/a.go imports pool", "volume/a.go imports volume/file"}},
		{"a backend imports another", map[string]string{
			"volume/file/a.go": file("file", `import "elstore/volume/rbd"`),
		}, []string{"volume/file/a.go imports volume/rbd"}},
		{"exports know no kind", map[string]string{
			"export/a.go": file("export", `import "elstore/export/lun"`, `import "elstore/export/iscsi"`),
		}, []string{"export/a.go imports export/iscsi", "export/a.go imports export/lun"}},
		{"a backend in the API", map[string]string{
			"api/v1/a.go": file("v1", `import "elstore/volume/file"`),
		}, []string{"api/v1/a.go imports volume/file"}},
		{"a facade imports another", map[string]string{
			"api/images/a.go": file("images", `import "elstore/api/v1"`),
		}, []string{"api/images/a.go imports api/v1"}},
		{"iscsi looks outside", map[string]string{
			"export/iscsi/a.go":     file("iscsi", `import "elstore/volume"`),
			"export/iscsi/pdu/a.go": file("pdu", `import "elstore/export/scsi"`),
		}, []string{"export/iscsi/a.go imports volume", "export/iscsi/pdu/a.go imports export/scsi"}},
		{"a file that only another machine builds", map[string]string{
			"volume/rbd/a.go": "//go:build ceph\n\n" + file("rbd", `import "elstore/pool"`),
		}, []string{"volume/rbd/a.go imports pool"}},
		{"product code imports what is for tests", map[string]string{
			"volume/a.go": file("volume", `import "elstore/test/need"`, `import "testing"`),
		}, []string{"volume/a.go imports test/need", "volume/a.go imports testing"}},
		{"HTTP below the API", map[string]string{
			"pool/a.go":         file("pool", `import "net/http"`, `import "github.com/gorilla/mux"`),
			"volume/fetch/a.go": file("fetch", `import "net/http/httputil"`),
		}, []string{"pool/a.go imports github.com/gorilla/mux", "pool/a.go imports net/http", "volume/fetch/a.go imports net/http/httputil"}},
		{"a package that the table lacks", map[string]string{
			"volume/cache/a.go":      file("cache"),
			"volume/cache/a_test.go": file("cache"),
		}, []string{"volume/cache/a.go belongs", "volume/cache/a_test.go belongs"}},
		{"folders", map[string]string{
			"server/README.md":     "",
			"pool/internal/README": "",
			"bin/tool/a.go":        file("tool"), // .gitignore names it
			".ci/a.go":             file("ci"),
			"pool/testdata/a.go":   "not Go",
		}, []string{"pool/internal has a name", "server is not one"}},
		{"code at the top", map[string]string{"a.go": file("elstore")}, []string{"a.go belongs"}},
		{"no comment", map[string]string{
			"volume/a.go":         "package volume\n",
			"volume/a_test.go":    file("volume"), // is not the package's
			"pool/a.go":           "// Pools.\npackage pool\n",
			"cmd/elstore/main.go": "// Package elstore is a program.\npackage main\n",
			"test/e2e/a_test.go":  "package e2e\n",
		}, []string{"cmd/elstore has no", "pool has no", "test/e2e has no", "volume has no"}},
		{"too long", map[string]string{
			"pool/exact.go":     file("pool", make([]string, longest-2)...),
			"pool/long.go":      file("pool", make([]string, longest-1)...),
			"pool/long_test.go": file("pool", make([]string, longest)...),
		}, []string{"pool/long.go has 501 lines"}},
		{"sleeps", map[string]string{
			"pool/a.go":      file("pool", `import "time"`, `func wait() { time.Sleep(1) }`),
			"pool/a_test.go": file("pool", `import "time"`, `var nap = time.Sleep`),
			"pool/b.go":      file("pool", `import "time"`, `var after = time.After(1)`),
		}, []string{"pool/a.go calls time.Sleep", "pool/a_test.go calls time.Sleep"}},
		{"skips", map[string]string{
			"pool/a_test.go":    file("pool", `import "testing"`, `func TestA(t *testing.T) { if false { t.Skip("x") } }`),
			"pool/b_test.go":    file("pool", `import "testing"`, `func TestB(t *testing.T) { t.SkipNow() }`),
			"test/need/need.go": file("need", `import "testing"`, `func lacking(t testing.TB) { t.Skipf("x") }`),
			"pool/c.go":         file("pool", `func c(r interface{ Skip(int) }) { r.Skip(1) }`),
		}, []string{"pool/a_test.go skips", "pool/b_test.go skips"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{".gitignore": {Data: []byte("/bin/\n")}}
			root["volume/fault/fault.go"] = &fstest.MapFile{Data: []byte(file("fault"))}
			for _, name := range slices.Sorted(maps.Keys(tt.files)) {
				root[name] = &fstest.MapFile{Data: []byte(tt.files[name])}
			}
			got, err := Check(root)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestCheckRefusesWhatItCannotRead(t *testing.T) {
	ignore := &fstest.MapFile{Data: []byte("/bin/\n")}
	tests := []struct {
		name string
		root fstest.MapFS
	}{
		{"nothing", fstest.MapFS{}},
		{"no Go file", fstest.MapFS{".gitignore": ignore, "pool/README": {}}},
		{"not Go", fstest.MapFS{".gitignore": ignore, "pool/a.go": {Data: []byte("pool")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if findings, err := Check(tt.root); err == nil {
				t.Errorf("found %v, want an error", findings)
			}
		})
	}
}

// TestTheTablesAreWellFormed catches a row that could never apply, since an earlier one takes its packages.
func TestTheTablesAreWellFormed(t *testing.T) {
	for name, table := range map[string]string{"imports": imports, "reserved": reserved} {
		rows := parse(table)
		if len(rows) != strings.Count(table, "\n")-1 {
			t.Errorf("%s: %d rows were read of %d lines", name, len(rows), strings.Count(table, "\n")-1)
		}
		for i, r := range rows {
			for _, left := range r.left {
				if strings.Contains(left, "*") {
					continue
				}
				if first := slices.IndexFunc(rows, func(r row) bool { return fits(r.left, left) }); first != i {
					t.Errorf("%s: row %d for %s is hidden by row %d", name, i, left, first)
				}
			}
		}
	}
}

func TestFits(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"volume", "volume", true},
		{"volume", "volume/file", false},
		{"api/*", "api/v1", true},
		{"api/*", "api", false},
		{"api/*", "api/v1/deep", false},
		{"export/**", "export", true},
		{"export/**", "export/iscsi/pdu", true},
		{"export/**", "exporter", false},
		{"**", "anything/at/all", true},
	}
	for _, tt := range tests {
		if got := fits([]string{tt.pattern}, tt.name); got != tt.want {
			t.Errorf("%s fits %s: %t, want %t", tt.pattern, tt.name, got, tt.want)
		}
	}
}

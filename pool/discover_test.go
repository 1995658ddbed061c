package pool

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// found lists what was discovered below dir: pools as path=name, or path!reason, and what is none as not path: reason.
func discovered(t *testing.T, dir string) []string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := discover(root, &asking{silent: map[string]bool{}})
	var list []string
	for _, c := range s.pools {
		if c.err != nil {
			list = append(list, c.rel+"!"+c.err.Error())
		} else {
			list = append(list, c.rel+"="+c.name())
		}
	}
	for _, n := range s.notPools {
		rel, _ := filepath.Rel(dir, n.Path)
		list = append(list, "not "+rel+": "+n.Reason)
	}
	return list
}

func TestDiscover(t *testing.T) {
	const s = SettingsFile
	tests := []struct {
		name  string
		files map[string]string
		links map[string]string // name to target; ROOT is the root, OUT a directory with a settings.json outside of it
		want  []string          // parts of what is discovered, in order
	}{
		{"nothing", nil, nil, nil},
		{"the root", map[string]string{s: "{}"}, nil, []string{".="}},
		{
			"the source document's",
			map[string]string{
				"valid_path_1/" + s: "{}", "data_volumes/valid_path_2/" + s: "{}", "data_volumes/valid_path_3/" + s: "{}",
				"data_volumes/valid_path_3/not_valid_path/" + s: "{}", "invalid_path_3/random_file_1": "", "valid_path_4/" + s: "{}",
				"valid_path_4/not_valid_either/" + s: "{}",
			},
			nil,
			[]string{"data_volumes/valid_path_2=", "data_volumes/valid_path_3=", "valid_path_1=", "valid_path_4=", "not valid_path_4/not_valid_either: it lies inside the pool "},
		},
		{"nothing below the root pool", map[string]string{s: "{}", "a/" + s: "{}", "b/c/" + s: "{}"}, nil, []string{".=", "not a: it lies inside", "not b/c: it lies inside"}},
		{"a bad one makes none below it valid", map[string]string{"a/" + s: "x", "a/b/" + s: "{}"}, nil, []string{"a!" + s + " is not a JSON object", "not a/b: it lies inside"}},
		{"a bad one leaves others alone", map[string]string{"a/" + s: "", "b/" + s: "{}"}, nil, []string{"a!" + s + " is empty", "b=b"}},
		{"three levels down", map[string]string{"a/b/c/" + s: "{}"}, nil, nil},
		{
			"not searched",
			map[string]string{".elstore/" + s: "{}", "elemento-bin/" + s: "{}", "elemento-base/" + s: "{}", "a/.x/" + s: "{}", "vid.1.elimg/" + s: "{}", "b/vid.2.elimg/" + s: "{}"},
			nil, nil,
		},
		{"almost not searched", map[string]string{"vid.elim/" + s: "{}", "elemento-bin2/" + s: "{}"}, nil, []string{"elemento-bin2=", "vid.elim="}},
		{"named", map[string]string{"a/" + s: `{"name": "fast"}`}, nil, []string{"a=fast"}},
		{"settings are a directory", map[string]string{"a/" + s + "/": "", "a/b/" + s: "{}"}, nil, []string{"a!" + s + " is a directory", "not a/b"}},
		{"a file in a directory's place", map[string]string{"a": "x"}, nil, nil},
		{"settings are a link inside", map[string]string{"a/": "", "my.json": "{}"}, map[string]string{"a/" + s: "../my.json"}, []string{"a=a"}},
		{"settings are a link out", map[string]string{"a/": ""}, map[string]string{"a/" + s: "OUT/" + s}, []string{"a!" + s + " is a symbolic link that leads nowhere within"}},
		{"settings are a relative link out", map[string]string{"a/": ""}, map[string]string{"a/" + s: "../../../../../../etc/passwd"}, []string{"a!" + s + " is a symbolic link that leads nowhere within"}},
		{"settings are a dead link", map[string]string{"a/": ""}, map[string]string{"a/" + s: "gone"}, []string{"a!" + s + " is a symbolic link that leads nowhere within"}},
		{"settings are a link to itself", map[string]string{"a/": ""}, map[string]string{"a/" + s: s}, []string{"a!" + s + " is a symbolic link that leads nowhere within"}},
		{"a directory is a link out", nil, map[string]string{"a": "OUT"}, []string{"not a: it is a symbolic link that leads out of"}},
		{"a directory is a relative link out", nil, map[string]string{"a": "../out"}, nil},
		{"a link out to no pool", nil, map[string]string{"a": "/"}, nil},
		{"a link to a pool", map[string]string{"a/" + s: "{}"}, map[string]string{"b": "a"}, []string{"a=a"}},
		{"a link to the root", map[string]string{"a/" + s: "{}"}, map[string]string{"b": ".", "c": ".."}, []string{"a=a"}},
		{"a link in a circle", map[string]string{"a/": ""}, map[string]string{"a/b": "../c", "c": "a/b"}, nil},
		{"a link to a deep pool", map[string]string{"x/y/z/deep/" + s: "{}"}, map[string]string{"b": "x/y/z/deep"}, []string{"x/y/z/deep=b"}},
		{"two links to a deep pool", map[string]string{"x/y/z/" + s: "{}"}, map[string]string{"b": "x/y/z", "x/c": "y/z"}, []string{"x/y/z="}},
		{"a link above a deep pool", map[string]string{"x/y/z/deep/" + s: "{}"}, map[string]string{"b": "x/y/z"}, []string{"x/y/z/deep=b/deep"}},
		{"a link into a pool", map[string]string{"a/" + s: "{}", "a/x/y/" + s: "{}"}, map[string]string{"b": "a/x/y"}, []string{"a=a", "not b: it is a symbolic link into the pool"}},
		{"a link into a hidden directory", map[string]string{".elstore/p/" + s: "{}"}, map[string]string{"b": ".elstore/p"}, []string{"not b: it is a symbolic link into a directory that is not searched"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := tree(t, map[string]string{s: "{}"})
			dir := tree(t, tt.files)
			for name, target := range tt.links {
				if err := os.Symlink(strings.ReplaceAll(target, "OUT", out), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			got := discovered(t, dir)
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("discovered\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestDiscoverPipe(t *testing.T) {
	dir := tree(t, map[string]string{"a/": "", "b/" + SettingsFile: "{}"})
	if err := syscall.Mkfifo(filepath.Join(dir, "a", SettingsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	got := discovered(t, dir)
	want := []string{"a!" + SettingsFile + " is not a regular file", "b=b"}
	if !slices.Equal(got, want) {
		t.Errorf("discovered %q, want %q", got, want)
	}
}

func TestDiscoverTooLong(t *testing.T) {
	dir := tree(t, map[string]string{"a/" + SettingsFile: "{}" + strings.Repeat(" ", MaxSettings)})
	if got := discovered(t, dir); len(got) != 1 || !strings.Contains(got[0], "over 1048576 bytes") {
		t.Errorf("discovered %q", got)
	}
}

func TestSurveyWatches(t *testing.T) {
	dir := tree(t, map[string]string{"a/" + SettingsFile: "{}", "a/x/": "", "b/c/d/": "", ".h/": "", "vid.1.elimg/": ""})
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var got []string
	for rel := range discover(root, &asking{silent: map[string]bool{}}).watch {
		got = append(got, rel)
	}
	slices.Sort(got)
	if want := []string{".", "a", "b", "b/c"}; !slices.Equal(got, want) {
		t.Errorf("watches %q, want %q", got, want)
	}
}

func TestUnsure(t *testing.T) {
	s := survey{failed: map[string]error{"a": os.ErrPermission}}
	for rel, want := range map[string]bool{"a": true, "a/b": true, "ab": false, ".": false, "b": false} {
		if got := s.unsure(rel) != nil; got != want {
			t.Errorf("unsure about %s: %t, want %t", rel, got, want)
		}
	}
}

func TestSurvey(t *testing.T) {
	root := tree(t, map[string]string{
		"a/" + SettingsFile: `{"max-volumes": 2, "max-total-size": "3G"}`, "b/" + SettingsFile: "-", "a/c/" + SettingsFile: "{}",
	})
	pools, none, err := Survey(root)
	if err != nil || len(pools) != 2 || len(none) != 1 {
		t.Fatal(pools, none, err)
	}
	if pools[0].Path != filepath.Join(root, "a") || pools[0].Problem != nil || pools[1].Problem == nil {
		t.Errorf("pools %+v", pools)
	}
	l := pools[0].Settings.Limits
	for _, tt := range []struct {
		volumes int
		bytes   int64
		says    string
	}{{2, 3 * gb, ""}, {3, 0, "3 volumes are over max-volumes 2"}, {0, 3*gb + 1, "over max-total-size 3 GB"}} {
		if got := l.Over(tt.volumes, tt.bytes); !strings.Contains(got, tt.says) || (got == "") != (tt.says == "") {
			t.Errorf("%d volumes of %d bytes: %q, want %q", tt.volumes, tt.bytes, got, tt.says)
		}
	}
	if DefaultSettings().Limits.Over(1<<40, 1<<60) != "" {
		t.Error("something is over limits that are not set")
	}
	if _, _, err := Survey(filepath.Join(root, "gone")); err == nil {
		t.Error("a root that is not there was surveyed")
	}
}

func TestADirectoryThatDoesNotAnswer(t *testing.T) {
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/c/" + SettingsFile: "{}", "d/" + SettingsFile: "{}"}), nil)
	owe := func(dirs ...string) {
		w.asking.mu.Lock()
		defer w.asking.mu.Unlock()
		clear(w.asking.silent)
		for _, dir := range dirs {
			w.asking.silent[dir] = true
		}
	}
	owe("a", "b")
	w.rescan()
	for _, pool := range []string{"a", "b/c"} {
		w.wantPool(pool, "its file system doesn't answer")
		if _, ok := w.Get(pool); !ok {
			t.Errorf("pool %s went out of use", pool)
		}
	}
	w.wantPool("d", "")
	if n := w.NotPools(); len(n) != 2 {
		t.Errorf("not pools: %+v", n)
	}
	owe()
	w.rescan()
	w.wantPool("a", "")
	w.wantPool("b/c", "")
}

func TestADirectoryThatMayNotBeSearched(t *testing.T) {
	s := newSurvey(&asking{})
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s.fail(root, "a", "a", &os.PathError{Op: "open", Path: "/secret", Err: syscall.EACCES})
	if want := "it can't be searched: permission denied"; len(s.notPools) != 1 || s.notPools[0].Reason != want || s.unsure("a/b") == nil {
		t.Errorf("not pools: %+v, want %q", s.notPools, want)
	}
}

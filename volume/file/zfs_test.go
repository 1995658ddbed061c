package file

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

// newZFS puts a program zfs into PATH that has the dataset tank/pool, mounted on dir, and keeps others as directories below
// it. It notes how it was called, and fails once with the sentence in the file "fail".
func newZFS(t testing.TB, dir string) (state string) {
	t.Helper()
	state = t.TempDir()
	program(t, "zfs", `
echo "$@" >> `+state+`/calls
if [ -f `+state+`/fail ] && [ "$1" != list ]; then
	read sentence < `+state+`/fail; /bin/rm `+state+`/fail; echo "cannot $1: $sentence" >&2; exit 1
fi
for last; do :; done
case "$1 $last" in
"list `+dir+`") printf 'tank/pool\t`+dir+`\n' ;;
"list tank/pool/"*) [ -d "`+dir+`/${last#tank/pool/}" ] || exit 1 ;;
"create tank/pool/"*) /bin/mkdir "`+dir+`/${last#tank/pool/}" ;;
"destroy tank/pool/"*) /bin/rm -r "`+dir+`/${last#tank/pool/}" ;;
*) echo "cannot open '$last': dataset does not exist" >&2; exit 1 ;;
esac`)
	return state
}

// calls returns how zfs was called since the last time.
func calls(t testing.TB, state string) []string {
	t.Helper()
	name := filepath.Join(state, "calls")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// TestZFS looks at how zfs is asked. What it does was tried with ZFS itself; here it is a script.
func TestZFS(t *testing.T) {
	dir := t.TempDir()
	state := newZFS(t, dir)
	pool, err := openDir(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := probeZFS(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	got := calls(t, state)
	if len(got) != 4 || got[0] != "list -H -o name,mountpoint -- "+dir || !strings.HasPrefix(got[1], "create -- tank/pool/tmp-") ||
		!strings.HasPrefix(got[3], "destroy -r -- tank/pool/tmp-") {
		t.Errorf("probing called zfs with %q", got)
	}
	cfg := Config{Dir: dir, Unique: true}
	cfg.maker = m
	b := openPool(t, cfg)
	id, _ := create(t, b, meta(volume.Raw, 4096), volume.Content{})
	dataset := "tank/pool/" + volumeName(id)
	if got := calls(t, state); !slices.Equal(got, []string{"create -- " + dataset}) {
		t.Errorf("creating called zfs with %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, volumeName(id))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the volume has mode %v, %v", info.Mode(), err)
	}
	put(t, "dataset is busy", state, "fail") // once
	purge(t, b, id)
	want := []string{"list -H -o name -- " + dataset, "destroy -r -- " + dataset, "destroy -r -- " + dataset}
	if got := calls(t, state); !slices.Equal(got, want) {
		t.Errorf("purging called zfs with %q, want %q", got, want)
	}
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("left are %q", names(left))
	}

	put(t, "out of space", state, "fail")
	if _, err := b.Stage(t.Context(), id); !fault.Is(err, fault.PoolFull) {
		t.Errorf("creating without room: %v", err)
	}
	// What was a directory before the pool was unique is removed as one.
	plain := volume.NewID()
	put(t, string(meta(volume.Raw, 1).Encode()), dir, volumeName(plain), "meta.json")
	put(t, "x", dir, volumeName(plain), "data.img")
	put(t, "permission denied", state, "fail")
	purge(t, b, plain)
	if _, there := scan(t, b)[plain]; there {
		t.Error("a purged volume is there")
	}
	scan(t, b)
	if left := tree(t, dir); len(left) != 0 {
		t.Errorf("left are %q", names(left))
	}
}

func TestZFSRefuses(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"no dataset", `echo "cannot open '$7': not a ZFS filesystem" >&2; exit 1`, "on neither"},
		{"not mounted here", `printf 'tank\t/elsewhere\n'`, "a ZFS dataset of its own"},
		{"an answer that is none", `echo what`, "can't be understood"},
		{"no right to create", `[ "$1" = list ] && printf 'tank\tDIR\n' || { echo "permission denied" >&2; exit 1; }`, "the right to make"},
		{"no right to destroy", `case "$1" in list) printf 'tank\tDIR\n' ;; create) /bin/mkdir DIR/${3#tank/} ;; *) echo "permission denied" >&2; exit 1 ;; esac`, "the right to remove"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			program(t, "zfs", strings.ReplaceAll(tt.script, "DIR", dir))
			_, err := Open(t.Context(), Config{Dir: dir, Unique: true})
			if !fault.Is(err, fault.PoolUnavailable) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
	if _, err := Open(t.Context(), Config{Dir: t.TempDir(), Unique: true, Shared: true}); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("shared: %v", err)
	}
}

func FuzzParseZFSList(f *testing.F) {
	f.Add("tank/pool\t/mnt/pool\n", "/mnt/pool")
	f.Add("tank\tnone\n", "/mnt")
	f.Add("\t\t", "")
	f.Fuzz(func(t *testing.T, out, path string) {
		name, err := parseZFSList(out, path)
		if err == nil && (name == "" || strings.TrimSuffix(out, "\n") != name+"\t"+path) {
			t.Errorf("%q is dataset %q", out, name)
		}
	})
}

package audit

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/volume/fault"
)

func openDir(t *testing.T) *os.Root {
	t.Helper()
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func add(t *testing.T, l *Log, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := l.Append(&e); err != nil {
			t.Fatal(err)
		}
	}
}

// read returns the request ids of what q selects.
func read(t *testing.T, l *Log, q Query) string {
	t.Helper()
	list, err := l.Read(q)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, e := range list {
		ids = append(ids, e.RequestID)
	}
	return strings.Join(ids, " ")
}

func TestQueries(t *testing.T) {
	l := open(t, Config{Dir: openDir(t)})
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	add(t, l,
		Entry{RequestID: "1", Time: noon, Who: "ci", Token: "t1", Status: 200, About: []string{"v1", "v2"}},
		Entry{RequestID: "2", Time: noon.Add(time.Second), Who: "al", Identity: "ffff", Status: 403, Code: fault.NotAllowed, About: []string{"v2"}},
		Entry{RequestID: "3", Time: noon.Add(2 * time.Second), Who: "ci", Token: "t1", Status: 500},
	)
	for _, tt := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "3 2 1"},
		{"the newest", Query{Limit: 2}, "3 2"},
		{"by name", Query{Who: "ci"}, "3 1"},
		{"by token", Query{Who: "t1"}, "3 1"},
		{"by identity", Query{Who: "ffff"}, "2"},
		{"by volume", Query{About: "v2"}, "2 1"},
		{"by volume and name", Query{About: "v2", Who: "ci"}, "1"},
		{"since", Query{Since: noon.Add(time.Second)}, "3 2"},
		{"refused", Query{Refused: true}, "3 2"},
		{"nobody", Query{Who: "jo"}, ""},
	} {
		if got := read(t, l, tt.q); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestLinesCantBeForged: whatever a name or path has, an entry is one line.
func TestLinesCantBeForged(t *testing.T) {
	dir := openDir(t)
	l := open(t, Config{Dir: dir})
	forged := "a\r\n{\"request_id\":\"forged\"}\n\u2028\x00\x1b[2J"
	add(t, l, Entry{RequestID: "1", Who: forged, Route: forged, About: []string{forged}, Remote: forged})
	data, err := dir.ReadFile(name(0))
	if err != nil || strings.Count(string(data), "\n") != 1 || strings.ContainsAny(strings.TrimSuffix(string(data), "\n"), "\r\x00\x1b\u2028") {
		t.Errorf("%q, %v", data, err)
	}
	if list, err := l.Read(Query{}); err != nil || len(list) != 1 || list[0].Who != forged {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestRotation(t *testing.T) {
	for _, files := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			dir := openDir(t)
			cfg := Config{Dir: dir, MaxBytes: 1000, Files: files}
			l := open(t, cfg)
			for n := range 60 {
				add(t, l, Entry{RequestID: fmt.Sprintf("%04d", n), Who: strings.Repeat("x", n)})
				if n%17 == 0 { // a restart in between
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = open(t, cfg)
				}
			}
			names, err := fs.Glob(dir.FS(), "*")
			if err != nil || len(names) != files {
				t.Fatalf("%v, %v", names, err)
			}
			for _, name := range names {
				if info, err := dir.Stat(name); err != nil || info.Size() > cfg.MaxBytes || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %d bytes, %v, %v", name, info.Size(), info.Mode(), err)
				}
			}
			got := strings.Fields(read(t, l, Query{}))
			if len(got) < files || got[0] != "0059" {
				t.Fatalf("%v", got)
			}
			for n, id := range got {
				if id != fmt.Sprintf("%04d", 59-n) {
					t.Fatalf("there is a gap or a swap: %v", got)
				}
			}
		})
	}
}

func TestOneLongLineIsKept(t *testing.T) {
	l := open(t, Config{Dir: openDir(t), MaxBytes: 100, Files: 2})
	add(t, l, Entry{RequestID: "1"}, Entry{RequestID: "2", Who: strings.Repeat("x", 1000)}, Entry{RequestID: "3"})
	if got := read(t, l, Query{}); got != "3 2" {
		t.Errorf("%s", got)
	}
}

func TestWhatACrashLeft(t *testing.T) {
	dir := openDir(t)
	if err := dir.WriteFile(name(0), []byte(`{"request_id":"1","status":200}`+"\n"+`{"request_id":"2","st`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{Dir: dir})
	add(t, l, Entry{RequestID: "3"})
	if got := read(t, l, Query{}); got != "3 1" {
		t.Errorf("%s", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	l := open(t, Config{Dir: openDir(t), MaxBytes: 4000, Files: 100})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 50 {
				if err := l.Append(&Entry{RequestID: fmt.Sprintf("%d-%d", n, i)}); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := l.Read(Query{Limit: 10}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	got := strings.Fields(read(t, l, Query{}))
	slices.Sort(got)
	if len(slices.Compact(got)) != 400 {
		t.Errorf("%d entries of 400 are there", len(got))
	}
}

func TestALogThatCantBeWritten(t *testing.T) {
	dir := openDir(t)
	l := open(t, Config{Dir: dir, MaxBytes: 10})
	add(t, l, Entry{RequestID: "1"})
	dir.Close() // the next line needs a new file
	if err := l.Append(&Entry{RequestID: "2"}); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := l.Read(Query{}); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("%v", err)
	}
	if _, err := Open(Config{Dir: dir}); !fault.Is(err, fault.StateUnavailable) {
		t.Errorf("%v", err)
	}
}

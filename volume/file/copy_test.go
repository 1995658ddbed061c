package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
)

// piece is data in a sparse file.
type piece struct {
	off  int64
	data string
}

// sparse makes a file of size bytes that is all holes but for the pieces.
func sparse(t testing.TB, name string, size int64, pieces ...piece) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		if _, err := f.WriteAt([]byte(p.data), p.off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return name
}

func sizes(t testing.TB, name string) (size, onDisk int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size(), allocated(info)
}

func sumOf(t testing.TB, name string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// shapes are sparse files of every kind.
var shapes = []struct {
	name   string
	size   int64
	pieces []piece
}{
	{"empty", 0, nil},
	{"a byte", 1, []piece{{0, "x"}}},
	{"a hole", 20 << 20, nil},
	{"data at the beginning", 20 << 20, []piece{{0, "begin"}}},
	{"data at the end", 20 << 20, []piece{{20<<20 - 3, "end"}}},
	{"data in the middle", 20 << 20, []piece{{10 << 20, "middle"}}},
	{"data around a chunk's end", 20 << 20, []piece{{chunk - 5, strings.Repeat("y", 10)}}},
	{"many pieces", 20 << 20, []piece{{0, "a"}, {1 << 20, "b"}, {5 << 20, "c"}, {chunk, "d"}, {19 << 20, strings.Repeat("e", 1<<20)}}},
	{"no hole", 9 << 20, []piece{{0, strings.Repeat("full", 9<<18)}}},
	{"an odd size", 1<<20 + 17, []piece{{1 << 20, "seventeen bytes!!"}}},
}

// TestCopies copies sparse files by every way there is, within a file system and from one to another.
func TestCopies(t *testing.T) {
	t.Parallel()
	algs := []volume.Alg{volume.Copy, volume.NoClone, volume.Rsync, volume.Rclone}
	need.Program(t, "rsync", "rclone")
	for fs, dir := range map[string]string{"the same": t.TempDir(), "another": need.FS(t, "ext4")} {
		t.Run(fs+" file system", func(t *testing.T) {
			for _, alg := range algs {
				for _, shape := range shapes {
					t.Run(string(alg)+" "+shape.name, func(t *testing.T) { testCopy(t, dir, alg, shape.size, shape.pieces) })
				}
			}
		})
	}
}

// copyInto copies source to the file copy in the pool's directory.
func copyInto(ctx context.Context, b *Backend, source string, alg volume.Alg, lock *os.File, m *meter) error {
	u := &builder{
		b: b, d: b.pool, name: "copy", lock: lock, meter: m,
		content: volume.Content{From: &volume.Image{Path: source}, Alg: alg},
	}
	return u.copyFile(ctx)
}

func testCopy(t *testing.T, dir string, alg volume.Alg, size int64, pieces []piece) {
	source := sparse(t, filepath.Join(t.TempDir(), "source with blanks"), size, pieces...)
	pool, err := os.MkdirTemp(dir, "pool") //nolint:usetesting // on the file system of dir
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(pool)
	b := openPool(t, Config{Dir: pool})
	var last int64
	m := newMeter(func(done, total int64) {
		if done < last || done > total || total != 1<<30 {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last = done
	}, 1<<30)
	lock, err := b.pool.openNew("lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := copyInto(t.Context(), b, source, alg, lock, m); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(pool, "copy")
	if sumOf(t, to) != sumOf(t, source) {
		t.Error("the copy differs")
	}
	_, had := sizes(t, source)
	if _, has := sizes(t, to); has > had+64<<10 {
		t.Errorf("the copy takes %d bytes, the source %d", has, had)
	}
	if info, err := os.Stat(to); err != nil || info.Mode() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if last == 1<<30 {
		t.Error("progress was complete before the copy was")
	}
}

func TestAMissingProgram(t *testing.T) {
	b := openPool(t, Config{Dir: t.TempDir()})
	source := sparse(t, filepath.Join(t.TempDir(), "source"), 4096)
	t.Setenv("PATH", t.TempDir())
	for _, alg := range []volume.Alg{volume.Rsync, volume.Rclone} {
		err := copyInto(t.Context(), b, source, alg, nil, nil)
		if !fault.Is(err, fault.ImageToolMissing) || !strings.Contains(err.Error(), string(alg)) {
			t.Errorf("without %s: %v", alg, err)
		}
		os.Remove(filepath.Join(b.cfg.Dir, "copy"))
	}
}

// program makes an executable shell script of that name and nothing else be in PATH.
func program(t testing.TB, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestAProgramThatFails(t *testing.T) {
	tests := []struct {
		name, script string
		code         fault.Code
	}{
		{"no room", `echo "rsync: write failed: No space left on device (28)" >&2; exit 11`, fault.PoolFull},
		{"anything", `echo "rsync: the moon is full" >&2; exit 3`, fault.ImageToolFailed},
		{"a signal", `kill -SEGV $$`, fault.ImageToolFailed},
		{"much to say", `i=0; while [ $i -lt 9999 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 3`, fault.ImageToolFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := openPool(t, Config{Dir: t.TempDir()})
			source := sparse(t, filepath.Join(t.TempDir(), "source"), 4096)
			program(t, "rsync", tt.script)
			lock, err := b.pool.openNew("lock")
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			err = copyInto(t.Context(), b, source, volume.Rsync, lock, nil)
			if !fault.Is(err, tt.code) || strings.Contains(err.Error(), "moon") {
				t.Errorf("error %v (%s), want %s", err, fault.CodeOf(err), tt.code)
			}
		})
	}
}

// TestAProgramIsKilled cancels a copy while its program runs, with a child of its own. Both held the volume's lock;
// it is free when the call has returned.
func TestAProgramIsKilled(t *testing.T) {
	b := openPool(t, Config{Dir: t.TempDir()})
	source := sparse(t, filepath.Join(t.TempDir(), "source"), 4096)
	started := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	// It waits for ever by reading a FIFO that nobody writes to; builtins only, since PATH is bare.
	program(t, "rsync", `( echo go > `+started+`; read x < `+started+`.never ) & wait`)
	if err := unix.Mkfifo(started+".never", 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := b.pool.openNew("lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := flockNow(lock, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	lockFD := lock.Fd()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	ended := make(chan error)
	go func() { ended <- copyInto(ctx, b, source, volume.Rsync, lock, nil) }()
	if _, err := os.ReadFile(started); err != nil { // until the program's child has said so
		t.Fatal(err)
	}
	// Our own descriptor becomes another file's, so that only the program and its child have the lock.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), int(lockFD), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(filepath.Join(b.cfg.Dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := flockNow(again, unix.LOCK_EX); !errors.Is(err, errHeld) {
		t.Errorf("the program does not have the lock: %v", err)
	}
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
	wait, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := flockWait(wait, again, unix.LOCK_EX); err != nil {
		t.Errorf("the program's child is still there: %v", err)
	}
}

func TestSumSparse(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			name := sparse(t, filepath.Join(t.TempDir(), "f"), shape.size, shape.pieces...)
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := sumSparse(t.Context(), f, shape.size, nil)
			if want := sumOf(t, name); err != nil || string(got) != string(want[:]) {
				t.Errorf("sum %x, %v, want %x", got, err, want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := os.Open(sparse(t, filepath.Join(t.TempDir(), "f"), 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := sumSparse(ctx, f, 1<<40, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCopyIsCancelled(t *testing.T) {
	b := openPool(t, Config{Dir: t.TempDir()})
	source := sparse(t, filepath.Join(t.TempDir(), "source"), 4*chunk, piece{0, "a"}, piece{2 * chunk, "b"}, piece{4*chunk - 1, "c"})
	from, err := openSource(source)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := b.pool.openNew("copy")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	m := newMeter(func(int64, int64) { calls++; cancel() }, 1<<20)
	if err := b.pool.sparseCopy(ctx, to, from, 4*chunk, m); !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("cancelled after the first piece: %v, %d pieces", err, calls)
	}
}

// TestMeter also fails where a part's progress would go back, or be complete before the whole is.
func TestMeter(t *testing.T) {
	type told struct{ done, total int64 }
	var got []told
	m := newMeter(func(done, total int64) { got = append(got, told{done, total}) }, 1000)
	first, second := m.part(0, 2), m.part(1, 2)
	first.at(100)
	first.at(100) // no news
	first.at(50)  // not back
	first.of(1, 2)
	first.end()
	second.of(1, 0) // of nothing
	second.of(1, 2)
	second.end()
	m.at(5000)
	m.end()
	m.end()
	want := []told{{50, 1000}, {250, 1000}, {500, 1000}, {750, 1000}, {999, 1000}, {1000, 1000}}
	if len(got) != len(want) {
		t.Fatalf("told %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("told %v, want %v", got, want)
			break
		}
	}
	none := newMeter(nil, 1000)
	none.at(1)
	none.of(1, 2)
	none.end()
	if none.part(0, 2) != nil || none.program() != nil {
		t.Error("nobody is told, but something is")
	}
}

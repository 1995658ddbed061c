package pdu

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// fileSplicer is a file on its way to a connection.
type fileSplicer struct {
	f    *os.File
	most int64 // bytes that it gives in all
}

func (s *fileSplicer) Splice(fd int, off, length int64) int64 {
	n, err := unix.Splice(int(s.f.Fd()), &off, fd, nil, int(min(length, s.most)), unix.SPLICE_F_NONBLOCK)
	if err != nil || n < 0 {
		return 0
	}
	s.most -= n
	return n
}

func newFileSplicer(t *testing.T, data []byte) *fileSplicer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &fileSplicer{f, 1 << 40}
}

// pipeCount returns how many pipes there are, and how many of them nobody uses.
func pipeCount() (all, idle int) {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	return pipes.all, len(pipes.idle)
}

// TestPages sends PDUs with and without pages among them to a peer that reads nothing at first.
func TestPages(t *testing.T) {
	const size = 3<<20 + 4097
	data := content(3, size)
	from := newFileSplicer(t, data)
	for name, flush := range map[string]func(*Writer) error{
		"waiting": (*Writer).Flush,
		"trying first": func(w *Writer) error {
			for range 100 {
				if done, err := w.TryFlush(); done || err != nil {
					return err
				}
			}
			return w.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			w := NewWriter(ours)
			w.SetDigests(true, false)
			if !w.Splices() {
				t.Fatal("a connection takes no pages")
			}
			var pages [3]Pages
			var want []byte
			l := Limits{HeaderDigest: true}
			for i := range pages {
				if !pages[i].Fill(from, 512, size-512) || pages[i].Empty() {
					t.Fatal("there are no pages")
				}
				put(w, i, 600).Release()
				want = appendSample(want, l, i, sample{0, 600})
				for off, n := 512, 0; off < size; off += n { // of which some begin in one pipe and end in the next
					n = min(size-off, 262_141)
					h := BHS{}
					(&NOPOut{}).Encode(&h)
					(&NOPOut{}).Encode(w.Begin())
					w.EndPages(&pages[i], n)
					want = Append(want, &h, nil, data[off:off+n], true, false)
				}
			}
			if w.Queued() != len(want) {
				t.Errorf("%d bytes are queued, want %d", w.Queued(), len(want))
			}
			got := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(theirs)
				got <- b
			}()
			if err := flush(w); err != nil {
				t.Fatal(err)
			}
			ours.Close()
			if !bytes.Equal(<-got, want) {
				t.Error("something else arrived")
			}
			for i := range pages {
				if !pages[i].Empty() {
					t.Error("something is left of the pages")
				}
				pages[i].Release()
			}
			if all, idle := pipeCount(); all != idle || idle > maxIdle {
				t.Errorf("there are %d pipes, of which nobody uses %d", all, idle)
			}
		})
	}
}

func TestPagesThatAreNotThere(t *testing.T) {
	data := content(1, 1<<20)
	t.Run("a medium that has less", func(t *testing.T) {
		var p Pages
		from := newFileSplicer(t, data)
		from.most = 5000
		if p.Fill(from, 0, 10000) || !p.Empty() {
			t.Error("it is full")
		}
	})
	t.Run("too many", func(t *testing.T) {
		from := newFileSplicer(t, data)
		var p [maxPipes + 1]Pages
		for i := range p {
			if got, want := p[i].Fill(from, 0, 4096), i < maxPipes; got != want || p[i].Empty() == want {
				t.Errorf("%t for the pages %d", got, i)
			}
		}
		for i := range p {
			p[i].Release() // with what is in it
		}
	})
	if all, idle := pipeCount(); all != idle || idle > maxIdle {
		t.Errorf("there are %d pipes, of which nobody uses %d", all, idle)
	}
}

// TestPipesAreEmpty uses a pipe again that was released with something in it.
func TestPipesAreEmpty(t *testing.T) {
	data := content(2, 1<<20)
	from := newFileSplicer(t, data)
	var p Pages
	for range 3 {
		if !p.Fill(from, 0, 100_000) {
			t.Fatal("there are no pages")
		}
		p.Release()
	}
	ours, theirs := tcpPair(t)
	w := NewWriter(ours)
	if !p.Fill(from, 4096, 8192) {
		t.Fatal("there are no pages")
	}
	(&NOPOut{}).Encode(w.Begin())
	w.EndPages(&p, 8192)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, BHSLength+8192)
	if _, err := io.ReadFull(theirs, in); err != nil || !bytes.Equal(in[BHSLength:], data[4096:4096+8192]) {
		t.Errorf("something else arrived: %v", err)
	}
}

func TestWhoTakesNoPages(t *testing.T) {
	if NewWriter(new(bytes.Buffer)).Splices() {
		t.Error("memory takes pages")
	}
	ours, _ := tcpPair(t)
	w := NewWriter(ours)
	w.SetDigests(false, true)
	if w.Splices() {
		t.Error("pages have digests")
	}
}

func TestPagesToAPeerThatHasGone(t *testing.T) {
	ours, theirs := tcpPair(t)
	theirs.Close()
	from := newFileSplicer(t, content(1, 1<<20))
	w := NewWriter(ours)
	for range 100 {
		var p Pages
		if !p.Fill(from, 0, 1<<20) {
			t.Fatal("there are no pages")
		}
		(&NOPOut{}).Encode(w.Begin())
		w.EndPages(&p, 1<<20)
		err := w.Flush()
		p.Release()
		if err != nil {
			return
		}
	}
	t.Error("it takes everything")
}

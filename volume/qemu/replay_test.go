package qemu

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func write(off int64, data string) *change { return newWrite(off, len(data), []byte(data)) }

// offsets lists the log.
func (l *replayLog) offsets() (offs []int64) {
	for c := l.first; c != nil; c = c.next {
		offs = append(offs, c.off)
	}
	return offs
}

func TestReplayLog(t *testing.T) {
	l := replayLog{limit: 4 * (512 + 128)}
	var changes []*change
	for off := range int64(4) {
		c := write(off, "data")
		if !l.reserve(c) {
			t.Fatalf("no room for change %d: %d", off, l.used)
		}
		changes = append(changes, c)
	}
	bare := newChange(changeZero, 9, 1)
	if l.reserve(bare) {
		t.Fatal("room where there is none")
	}
	l.cancel(changes[3])
	if !l.reserve(bare) {
		t.Fatal("no room after a change was cancelled")
	}
	if !l.empty() {
		t.Fatal("not empty before anything was acknowledged")
	}
	for _, i := range []int{2, 0, 1} {
		l.add(changes[i])
	}
	seq := l.seq
	l.add(bare)
	if got := l.offsets(); !slices.Equal(got, []int64{2, 0, 1, 9}) {
		t.Fatalf("log %v", got)
	}
	dropped := l.drop(seq)
	var gone []int64
	for c := dropped; c != nil; c = c.next {
		gone = append(gone, c.off)
	}
	if !slices.Equal(gone, []int64{2, 0, 1}) || !slices.Equal(l.offsets(), []int64{9}) {
		t.Fatalf("dropped %v, left %v", gone, l.offsets())
	}
	if l.used != bare.cost() || l.drop(seq) != nil {
		t.Fatalf("%d bytes used", l.used)
	}
	l.drop(l.seq).free()
	if !l.empty() || l.used != 0 || l.last != nil {
		t.Fatalf("not empty: %+v", l)
	}
	l.add(write(5, "x")) // it can be filled again
	if !slices.Equal(l.offsets(), []int64{5}) {
		t.Fatalf("log %v", l.offsets())
	}
}

func TestChangeData(t *testing.T) {
	for _, tc := range []struct{ length, capacity int }{
		{1, 512}, {512, 512}, {513, 1024}, {4096, 4096}, {4097, 8192}, {mostPiece - 1, mostPiece}, {mostPiece, mostPiece},
	} {
		data := bytes.Repeat([]byte{7}, tc.length)
		half := tc.length / 2
		for range 2 { // the second may be from the pool
			c := newWrite(3, tc.length, data[:half], nil, data[half:])
			if !bytes.Equal(c.data, data) || cap(c.data) != tc.capacity || c.length != int64(tc.length) || c.off != 3 || c.next != nil {
				t.Fatalf("%d bytes: capacity %d, %+v", tc.length, cap(c.data), c.length)
			}
			c.free()
		}
	}
	(*change)(nil).free()
	if c := newChange(changeDiscard, 5, 6); c.kind != changeDiscard || c.off != 5 || c.length != 6 || c.data != nil {
		t.Fatalf("%+v", c)
	}
}

func TestChangesOverlap(t *testing.T) {
	for _, tc := range []struct {
		off, length int64
		want        bool
	}{{0, 10, false}, {0, 11, true}, {10, 10, true}, {12, 1, true}, {19, 1, true}, {20, 10, false}, {0, 100, true}} {
		a, b := newChange(changeZero, 10, 10), newChange(changeZero, tc.off, tc.length)
		if a.overlaps(b) != tc.want || b.overlaps(a) != tc.want {
			t.Errorf("%d+%d: %t", tc.off, tc.length, !tc.want)
		}
	}
}

// Replaying makes the disk what the changes one after the other made it, though it makes many at the same time.
func TestReplayOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		want, got := make([]byte, 256), make([]byte, 256)
		l := replayLog{limit: 1 << 30}
		for range r.IntN(100) {
			off := r.IntN(256)
			length := 1 + r.IntN(min(40, 256-off))
			if r.IntN(3) == 0 {
				clear(want[off : off+length])
				l.add(newChange(changeZeroUnmap, int64(off), int64(length)))
				continue
			}
			data := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, length)
			copy(want[off:], data)
			l.add(newWrite(int64(off), length, data))
		}
		var mu sync.Mutex
		running, most := 0, 0
		err := l.each(func(c *change) error {
			mu.Lock()
			defer mu.Unlock()
			running++
			most = max(most, running)
			if c.kind == changeWrite {
				copy(got[c.off:], c.data)
			} else {
				clear(got[c.off : c.off+c.length])
			}
			running--
			return nil
		})
		if err != nil || !bytes.Equal(got, want) || most > replayDepth {
			t.Fatalf("%v, %d at the same time\ngot  %x\nwant %x", err, most, got, want)
		}
	}
}

// What does not overlap is made at the same time: each waits for all the others.
func TestReplayAtTheSameTime(t *testing.T) {
	l := replayLog{limit: 1 << 30}
	for i := range int64(replayDepth) {
		l.add(newChange(changeZero, i*512, 512))
	}
	var all sync.WaitGroup
	all.Add(replayDepth)
	if err := l.each(func(*change) error { all.Done(); all.Wait(); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestReplayEndsWithError(t *testing.T) {
	l := replayLog{limit: 1 << 30}
	for range 5 {
		l.add(write(0, "x")) // one after the other
	}
	why := errors.New("why")
	n := 0
	err := l.each(func(*change) error {
		if n++; n == 3 {
			return why
		}
		return nil
	})
	if !errors.Is(err, why) || n != 3 {
		t.Fatalf("%v after %d", err, n)
	}
}

func BenchmarkReplayLog(b *testing.B) {
	l := replayLog{limit: 64 << 20}
	data := make([]byte, 4096)
	b.ReportAllocs()
	b.SetBytes(4096)
	for b.Loop() {
		c := newWrite(0, len(data), data)
		if !l.reserve(c) {
			l.drop(l.seq).free()
			l.reserve(c)
		}
		l.add(c)
	}
}

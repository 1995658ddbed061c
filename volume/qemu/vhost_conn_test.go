package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// waitUntil waits until something is so.
func waitUntil(t testing.TB, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !so(); {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
		<-time.After(time.Millisecond)
	}
}

func TestVhostRequests(t *testing.T) {
	c, d := vhostPair(t)
	done := make(chan error, 1)
	p := make([]byte, 1024)
	go func() { done <- c.read(p, 3*512) }()
	r := d.take()
	if r.kind != virtioIn || r.sector != 3 || len(r.data) != 1024 || !r.writes {
		t.Errorf("read is %+v", r)
	}
	copy(r.data, bytes.Repeat([]byte("x"), 1024))
	d.answer(r, virtioOK, 1024)
	if err := <-done; err != nil || !bytes.Equal(p, bytes.Repeat([]byte("x"), 1024)) {
		t.Errorf("read: %v, %q", err, p[:4])
	}
	go func() {
		done <- c.write(1<<40, 512, bytes.Repeat([]byte("a"), 500), nil, bytes.Repeat([]byte("b"), 12))
	}()
	r = d.take()
	if r.kind != virtioOut || r.sector != 1<<31 || string(r.data) != strings.Repeat("a", 500)+strings.Repeat("b", 12) || r.writes {
		t.Errorf("write is %+v", r)
	}
	d.answer(r, virtioOK, 0)
	must(t, <-done)
	if c.busy() {
		t.Error("something is under way")
	}
}

// What the daemon refuses, or says it has not done, fails, and nothing else does.
func TestVhostFails(t *testing.T) {
	for name, tc := range map[string]struct {
		status  byte
		written int
	}{
		"an error": {1, 512}, "not supported": {2, 512}, "no status": {virtioNone, 512}, "too little data": {virtioOK, 511}, "nothing": {virtioOK, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := vhostPair(t)
			done := make(chan error, 1)
			p := make([]byte, 512)
			go func() { done <- c.read(p, 0) }()
			r := d.take()
			copy(r.data, "not this")
			d.answer(r, tc.status, tc.written)
			if err := <-done; !errors.Is(err, errVhostFailed) || !zeros(p) {
				t.Errorf("read: %v, %q", err, p[:8])
			}
			go func() { done <- c.write(0, 512, p) }()
			d.answer(d.take(), virtioOK, 0)
			must(t, <-done)
		})
	}
}

// However the daemon breaks the protocol or goes away, requests end with errGone, and those that come too.
func TestVhostBroken(t *testing.T) {
	for name, does := range map[string]func(d *vhostDaemon, r deviceRequest){
		"goes away":               func(d *vhostDaemon, _ deviceRequest) { _, _ = d.conn.Close(), unix.Shutdown(d.call, unix.SHUT_RDWR) },
		"says something":          func(d *vhostDaemon, _ deviceRequest) { _, _ = d.conn.Write([]byte("x")) },
		"ends another":            func(d *vhostDaemon, _ deviceRequest) { d.end(queueChain*9, 1); d.wake() },
		"ends no request":         func(d *vhostDaemon, _ deviceRequest) { d.end(1, 1); d.wake() },
		"ends more than there is": func(d *vhostDaemon, r deviceRequest) { d.end(r.head, 1); d.end(r.head, 1); d.end(r.head, 1); d.wake() },
		"goes back": func(d *vhostDaemon, _ deviceRequest) {
			d.ended -= 2
			d.end(0, 1)
			d.wake()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := vhostPair(t)
			done := make(chan error, 2)
			go func() { done <- c.read(make([]byte, 512), 0) }()
			r := d.take()
			go func() { done <- c.write(0, 512, make([]byte, 512)) }()
			d.take()
			does(d, r)
			<-c.hungUp
			c.cut()
			for range 2 {
				if err := <-done; !errors.Is(err, errGone) {
					t.Errorf("error is %v", err)
				}
			}
			if err := c.read(make([]byte, 512), 0); !errors.Is(err, errGone) {
				t.Errorf("a request that came later: %v", err)
			}
		})
	}
}

// Requests of many at once get what is theirs.
func TestVhostCrowd(t *testing.T) {
	c, d := vhostPair(t)
	disk := make([]byte, 8<<20)
	served := make(chan struct{})
	go func() {
		defer close(served)
		r := rand.New(rand.NewPCG(3, 4))
		serve := func(q deviceRequest) {
			at := disk[q.sector*512:][:len(q.data)]
			if q.kind == virtioIn {
				copy(q.data, at)
				d.answer(q, virtioOK, len(q.data))
			} else {
				copy(at, q.data)
				d.answer(q, virtioOK, 0)
			}
		}
		var waiting []deviceRequest
		for {
			q := d.take()
			if q.status == nil || q.sector == 1<<32 { // the last
				return
			}
			// Sometimes many are taken before one is answered, and not in their order.
			for waiting = append(waiting, q); len(waiting) > 0 && r.IntN(8) > 0; {
				i := r.IntN(len(waiting))
				q = waiting[i]
				waiting[i] = waiting[len(waiting)-1]
				waiting = waiting[:len(waiting)-1]
				serve(q)
			}
			for _, q := range waiting { // nobody waits for ever
				serve(q)
			}
			waiting = waiting[:0]
		}
	}()
	var users sync.WaitGroup
	for i := range 32 {
		users.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(i)))
			mine := make([]byte, len(disk)/32)
			got := make([]byte, len(mine))
			for n := range 200 {
				off := r.IntN(len(mine)/512) * 512
				length := min((1+r.IntN(1<<r.IntN(9)))*512, len(mine)-off)
				at := int64(i*len(mine) + off)
				if r.IntN(2) == 0 {
					binary.LittleEndian.PutUint64(mine[off:], uint64(n)<<32|uint64(i))
					must(t, c.write(at, length, mine[off:off+length]))
				} else if must(t, c.read(got[:length], at)); !bytes.Equal(got[:length], mine[off:off+length]) {
					t.Errorf("%d bytes at %d are not what was written", length, at)
				}
			}
		})
	}
	users.Wait()
	go func() { _ = c.read(make([]byte, 512), 1<<41) }()
	<-served
}

// Who finds no room waits, and the one who came first gets it first.
func TestVhostWaitsForRoom(t *testing.T) {
	c, d := vhostPair(t)
	const length = mostPiece
	done := make(chan error, 8)
	var taken []deviceRequest
	for range (sharedBytes - queueEnd) / length {
		go func() { done <- c.write(0, length, make([]byte, length)) }()
		taken = append(taken, d.take())
	}
	waiting := func(n uint64) {
		t.Helper()
		waitUntil(t, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.tickets-c.serving == n
		})
	}
	go func() { done <- c.write(512, length, make([]byte, length)) }()
	waiting(1)
	go func() { done <- c.write(1024, 512, make([]byte, 512)) }() // there would be room for it
	waiting(2)
	d.answer(taken[0], virtioOK, 0)
	first, second := d.take(), d.take()
	if first.sector+second.sector != 3 {
		t.Errorf("sectors %d and %d are written", first.sector, second.sector)
	}
	for _, r := range append(taken[1:], first, second) {
		d.answer(r, virtioOK, 0)
	}
	for range len(taken) + 2 {
		must(t, <-done)
	}
	go func() { done <- c.read(make([]byte, 512), 0) }()
	d.take()
	c.cut()
	if err := <-done; !errors.Is(err, errGone) {
		t.Errorf("error is %v", err)
	}
}

// A daemon that makes its waking block stops no longer than until it is given up.
func TestVhostKickBlocks(t *testing.T) {
	c, d := vhostPair(t)
	must(t, unix.SetNonblock(d.kick, false))
	_, err := unix.Write(d.kick, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- c.write(0, 512, make([]byte, 512)) }()
	waitUntil(t, c.busy)
	c.cut()
	if err := <-done; !errors.Is(err, errGone) {
		t.Errorf("error is %v", err)
	}
}

// unread returns how many bytes of signals nobody has read.
func unread(t testing.TB, c *vhostConn) (n int) {
	t.Helper()
	must(t, c.call.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }))
	return n
}

// Signals that nobody waits for do not pile up: QEMU gives a queue up that it can't signal.
func TestVhostSignalsDoNotPileUp(t *testing.T) {
	c, d := vhostPair(t)
	for range 100 {
		d.wake()
	}
	d.end(0, 1) // before somebody sleeps
	must(t, c.sleep())
	if n := unread(t, c); n != 0 {
		t.Errorf("%d bytes of signals are left after it was asked for one in vain", n)
	}

	c, d = vhostPair(t)
	const last = mostUnread - 1
	c.mu.Lock()
	c.queue.added, c.queue.told, c.queue.seen = last, last, last
	c.queue.store(queueUsed, 0, last)
	c.queue.store(queueAvailable, 0, last)
	c.queue.store(queueAvailEvent, last, 0)
	c.mu.Unlock()
	d.seen, d.ended = last, last
	done := make(chan error, 1)
	go func() { done <- c.read(make([]byte, 512), 0) }()
	r := d.take()
	for range 200 {
		d.wake()
	}
	d.answer(r, virtioOK, 512)
	must(t, <-done)
	if n := unread(t, c); n > 8 { // its own may come after it
		t.Errorf("%d bytes of signals are left", n)
	}
}

// When it ends while requests come, each of them ends, and the memory is freed once.
func TestVhostEnds(t *testing.T) {
	for range 20 {
		c, d := vhostPair(t)
		var users sync.WaitGroup
		for range 8 {
			users.Go(func() {
				p := make([]byte, 4096)
				for {
					if err := c.read(p, 0); err != nil {
						if !errors.Is(err, errGone) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for range 50 {
			r := d.take()
			d.answer(r, virtioOK, len(r.data))
		}
		users.Go(c.cut)
		users.Go(c.cut)
		users.Wait()
		c.mu.Lock()
		if c.users != 0 {
			t.Errorf("%d still use it", c.users)
		}
		c.mu.Unlock()
	}
}

func TestPatience(t *testing.T) {
	var p patience
	for range mostVain / 2 {
		if !p.left() {
			t.Fatal("none is left")
		}
		p.lost()
	}
	for i := range lookAgain - 1 {
		if p.left() {
			t.Fatalf("there is some after %d sleeps", i)
		}
	}
	if !p.left() {
		t.Fatal("none is left for another look")
	}
	p.lost()
	if p.left() {
		t.Error("the look was in vain, and there is some left")
	}
	for range lookAgain - 1 {
		if p.left() {
			p.paid()
		}
	}
	if !p.left() {
		t.Error("the look paid, and none is left")
	}
}

// Whatever a daemon writes into the memory, nothing is written outside of a request's buffer and everything ends.
func FuzzVhostQueue(f *testing.F) {
	f.Add(uint16(queueUsed), []byte{0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 0, 0}, byte(0))
	f.Add(uint16(queueUsed), []byte{0, 0, 2, 0, 3, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0}, byte(0))
	f.Add(uint16(queueUsed+2), []byte{255, 255}, byte(1))
	f.Add(uint16(queueAvailEvent), []byte{255, 127}, byte(2))
	f.Add(uint16(0), bytes.Repeat([]byte{255}, 64), byte(0))
	f.Fuzz(func(t *testing.T, at uint16, data []byte, status byte) {
		c, d := vhostPair(t)
		buf := make([]byte, 512+32)
		var calls sync.WaitGroup
		calls.Go(func() { _ = c.read(buf[16:16+512], 512) })
		first := d.take()
		calls.Go(func() { _ = c.write(4096, 512, make([]byte, 512)) })
		second := d.take()
		*first.status, *second.status = status, status
		if int(at) < queueEnd {
			copy(d.memory[at:queueEnd], data)
		}
		d.wake()
		d.conn.Close()
		<-c.hungUp
		c.cut()
		calls.Wait()
		if !zeros(buf[:16]) || !zeros(buf[16+512:]) {
			t.Fatalf("%x", buf)
		}
	})
}

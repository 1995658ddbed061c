package pdu

import (
	"errors"
	"net"
	"testing"
	"time"
)

// doorman lingers each time, and says so before.
type doorman struct {
	spin, most  time.Duration
	began, over int
	seen        int // waits in which something came while it looked
	waits       int
	lingers     chan struct{}
}

func (d *doorman) Linger() (spin, most time.Duration) {
	d.began++
	if d.lingers != nil {
		d.lingers <- struct{}{}
	}
	return d.spin, d.most
}

func (d *doorman) Lingered(seen bool) {
	d.over++
	if seen {
		d.seen++
	}
}

func (d *doorman) Waits() { d.waits++ }

// TestLingeringConnection sends each PDU in two parts, each when the reader lingers.
func TestLingeringConnection(t *testing.T) {
	for name, spin := range map[string]time.Duration{"asleep": 0, "awake": 30 * time.Second, "asleep in the end": time.Nanosecond} {
		t.Run(name, func(t *testing.T) { lingerOverParts(t, spin) })
	}
}

func lingerOverParts(t *testing.T, spin time.Duration) {
	client, server := connected(t)
	l := Limits{MaxRecvDataSegmentLength: 1 << 18}
	d := &doorman{spin: spin, most: 30 * time.Second, lingers: make(chan struct{})}
	conn := Lazy(server, d)
	s := &spy{LazyReader: conn.(LazyReader), Reader: conn, waits: make(chan struct{})}
	go func() {
		for i, size := range sizes[:8] {
			whole := appendSample(nil, l, i, size)
			<-d.lingers
			client.Write(whole[:BHSLength/2])
			<-d.lingers
			client.Write(whole[BHSLength/2:])
		}
		<-d.lingers
		client.Close()
	}()
	r := NewReader(s)
	r.SetLimits(l)
	for i, size := range sizes[:8] {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, l, i, size)
	}
	if _, err := r.Next(); err == nil {
		t.Error("there is one more")
	}
	if s.returned > 0 {
		t.Errorf("the buffer was returned %d times, though it lingers", s.returned)
	}
	if d.began != d.over || d.began != 2*8+1 || d.waits > 0 {
		t.Errorf("it began to linger %d times, ended %d times, and the runtime waited %d times", d.began, d.over, d.waits)
	}
	if spin > d.most/2 && d.seen != d.over || spin == 0 && d.seen > 0 {
		t.Errorf("in %d of %d waits something came while it looked", d.seen, d.over)
	}
}

// TestLingeringEnds waits longer than a connection lingers.
func TestLingeringEnds(t *testing.T) {
	client, server := connected(t)
	d := &doorman{most: time.Nanosecond}
	conn := Lazy(server, d)
	s := &spy{LazyReader: conn.(LazyReader), Reader: conn, waits: make(chan struct{})}
	go func() {
		for i, size := range sizes[:8] {
			<-s.waits
			client.Write(appendSample(nil, DefaultLimits, i, size))
		}
	}()
	r := NewReader(s)
	for i, size := range sizes[:8] {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, DefaultLimits, i, size)
	}
	if s.returned != 8 {
		t.Errorf("the buffer was returned %d times in 8 waits", s.returned)
	}
	if d.began != d.over || d.waits != 8 {
		t.Errorf("it began to linger %d times, ended %d times, and the runtime waited %d times", d.began, d.over, d.waits)
	}
}

func TestLingererThatNeverDoes(t *testing.T) {
	client, server := connected(t)
	d := &doorman{}
	client.Write(stream(Limits{}, sizes[1]))
	r := NewReader(Lazy(server, d))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	go client.Close()
	if _, err := r.Next(); err == nil {
		t.Error("there is one more")
	}
	if d.over != 0 {
		t.Errorf("Lingered was called %d times", d.over)
	}
}

// TestClosedWhileItLingers closes the connection: the reader ends no later than it lingers.
func TestClosedWhileItLingers(t *testing.T) {
	_, server := connected(t)
	d := &doorman{most: time.Millisecond, lingers: make(chan struct{})}
	go func() {
		<-d.lingers
		server.Close()
	}()
	if _, err := NewReader(Lazy(server, d)).Next(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

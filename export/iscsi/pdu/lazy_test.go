package pdu

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// connected are both ends of a TCP connection.
func connected(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// spy counts how a lazy connection takes and returns its room.
type spy struct {
	LazyReader
	io.Reader
	taken, returned int
	held            bool
	waits           chan struct{} // has one for each time that the room was returned
}

type spyRoom struct {
	Room
	*spy
}

func (s *spy) ReadLazy(room Room) (int, error) { return s.LazyReader.ReadLazy(spyRoom{room, s}) }

func (r spyRoom) Take() []byte {
	r.taken, r.held = r.taken+1, true
	return r.Room.Take()
}

func (r spyRoom) Return() {
	r.Room.Return()
	r.returned, r.held = r.returned+1, false
	r.waits <- struct{}{}
}

// TestLazyConnection sends a PDU whenever the reader waits: it waits without a buffer each time.
func TestLazyConnection(t *testing.T) {
	client, server := connected(t)
	l := Limits{MaxRecvDataSegmentLength: 1 << 18, HeaderDigest: true, DataDigest: true}
	conn := Lazy(server, nil)
	s := &spy{LazyReader: conn.(LazyReader), Reader: conn, waits: make(chan struct{})}
	go func() {
		for i, size := range sizes {
			<-s.waits
			client.Write(appendSample(nil, l, i, size))
		}
		<-s.waits
		client.Close()
	}()
	r := NewReader(s)
	r.SetLimits(l)
	for i, size := range sizes {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, l, i, size)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if s.returned != len(sizes)+1 || s.taken != 2*s.returned {
		t.Errorf("the buffer was taken %d times and returned %d times, for %d PDUs", s.taken, s.returned, len(sizes))
	}
}

func TestLazyConnectionFails(t *testing.T) {
	t.Run("a deadline", func(t *testing.T) {
		client, server := connected(t)
		r := NewReader(Lazy(server, nil))
		if err := server.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if err := server.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		client.Write(stream(Limits{}, sizes[1]))
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, DefaultLimits, 0, sizes[1])
	})
	t.Run("a reset", func(t *testing.T) {
		client, server := connected(t)
		if err := client.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		client.Close()
		if _, err := NewReader(Lazy(server, nil)).Next(); err == nil || errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	t.Run("closed by us", func(t *testing.T) {
		_, server := connected(t)
		r := NewReader(Lazy(server, nil))
		server.Close()
		if _, err := r.Next(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("without a descriptor", func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() {
			a.Write(stream(Limits{}, sizes[1]))
			a.Close()
		}()
		if Lazy(b, nil) != io.Reader(b) {
			t.Error("it is something else")
		}
		p, err := NewReader(Lazy(b, nil)).Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, DefaultLimits, 0, sizes[1])
	})
}

// always is a Lingerer that lingers every time.
type always time.Duration

func (a always) Linger() (spin, most time.Duration) { return 0, time.Duration(a) }
func (always) Lingered(bool)                        {}
func (always) Waits()                               {}

// BenchmarkConnection is a ping-pong of headers: what waiting for one costs.
func BenchmarkConnection(b *testing.B) {
	for name, source := range map[string]func(net.Conn) io.Reader{
		"eager":     func(c net.Conn) io.Reader { return c },
		"lazy":      func(c net.Conn) io.Reader { return Lazy(c, nil) },
		"lingering": func(c net.Conn) io.Reader { return Lazy(c, always(time.Millisecond)) },
		"spinning":  func(c net.Conn) io.Reader { return Lazy(c, &doorman{spin: time.Millisecond, most: time.Millisecond}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			client, server := connected(b)
			go func() {
				r, w := NewReader(source(server)), NewWriter(server)
				for {
					if _, err := r.Next(); err != nil {
						return
					}
					(&NOPIn{}).Encode(w.Begin())
					w.End(nil, nil)
					if w.Flush() != nil {
						return
					}
				}
			}()
			ping := stream(Limits{}, sample{})
			answer := make([]byte, BHSLength)
			for b.Loop() {
				client.Write(ping)
				if _, err := io.ReadFull(client, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

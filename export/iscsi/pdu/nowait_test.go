package pdu

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// tcpPair is a connection of this machine with itself.
func tcpPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := listener.Accept(); err == nil {
			accepted <- c
		}
	}()
	if ours, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	theirs = <-accepted
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// TestTryFlush writes to a peer that reads nothing until no more goes, and then the rest.
func TestTryFlush(t *testing.T) {
	ours, theirs := tcpPair(t)
	w := NewWriter(ours)
	var want []byte
	for i, done := 0, true; done; i++ {
		if i > 1000 {
			t.Fatal("a peer that does not read takes everything")
		}
		for j := range 1500 { // more pieces than one call takes
			put(w, 1500*i+j, 600).Release()
			h := BHS{}
			(&NOPOut{InitiatorTaskTag: uint32(1500*i + j)}).Encode(&h)
			want = Append(want, &h, nil, content(1500*i+j, 600), false, false)
		}
		var err error
		if done, err = w.TryFlush(); err != nil {
			t.Fatal(err)
		}
		if done != (w.Queued() == 0) {
			t.Errorf("done %v, and %d bytes are queued", done, w.Queued())
		}
	}
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(theirs)
		got <- b
	}()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	put(w, 1, 10).Release()
	h := BHS{}
	(&NOPOut{InitiatorTaskTag: 1}).Encode(&h)
	want = Append(want, &h, nil, content(1, 10), false, false)
	if done, err := w.TryFlush(); err != nil || !done {
		t.Errorf("once all is gone: %v, %v", done, err)
	}
	ours.Close()
	if !bytes.Equal(<-got, want) {
		t.Error("something else arrived")
	}
}

func TestTryFlushFails(t *testing.T) {
	t.Run("without a descriptor", func(t *testing.T) {
		var out bytes.Buffer
		w := NewWriter(&out)
		put(w, 1, 10).Release()
		if done, err := w.TryFlush(); done || err != nil || out.Len() != 0 {
			t.Errorf("got %v, %v, %d bytes", done, err, out.Len())
		}
		if err := w.Flush(); err != nil || out.Len() == 0 {
			t.Errorf("Flush wrote %d bytes: %v", out.Len(), err)
		}
		if done, err := w.TryFlush(); !done || err != nil {
			t.Errorf("with nothing to write: %v, %v", done, err)
		}
	})
	t.Run("the peer has gone", func(t *testing.T) {
		ours, theirs := tcpPair(t)
		if err := theirs.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		_, _ = ours.Read(make([]byte, 1)) // the reset has come
		w := NewWriter(ours)
		owner := put(w, 1, 1000)
		done, err := w.TryFlush()
		if !done || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, %v", done, err)
		}
		if owner.shared() {
			t.Error("the data is still held")
		}
		if again := w.Flush(); !errors.Is(again, err) {
			t.Errorf("Flush after it: %v", again)
		}
	})
	t.Run("our own end is closed", func(t *testing.T) {
		ours, _ := tcpPair(t)
		ours.Close()
		w := NewWriter(ours)
		put(w, 1, 1000).Release()
		if done, err := w.TryFlush(); !done || !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, %v", done, err)
		}
	})
}

func TestTryFlushAllocatesNothing(t *testing.T) {
	if raceEnabled {
		return // pools drop things at random then
	}
	ours, theirs := tcpPair(t)
	w := NewWriter(ours)
	data, in := make([]byte, 600), make([]byte, 32*(BHSLength+600))
	n := testing.AllocsPerRun(100, func() {
		for range 32 {
			(&NOPOut{}).Encode(w.Begin())
			w.End(data, nil)
		}
		if done, err := w.TryFlush(); !done || err != nil {
			t.Fatal(done, err)
		}
		if _, err := io.ReadFull(theirs, in); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

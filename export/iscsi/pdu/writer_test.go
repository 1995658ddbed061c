package pdu

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// put queues sample i.
func put(w *Writer, i, n int) *Buffer {
	owner := Get(n)
	data := append(owner.Bytes()[:0], content(i, n)...)
	(&NOPOut{InitiatorTaskTag: uint32(i)}).Encode(w.Begin())
	w.End(data, owner.Retain())
	return owner
}

func TestWriter(t *testing.T) {
	samples := make([]sample, 300) // so many that they need several blocks
	for i := range samples {
		samples[i].data = []int{0, 1, 48, 511, 512, 513, 4096, 70001}[i%8]
	}
	eachLimits(t, 0, func(t *testing.T, l Limits) {
		want := stream(l, samples...)
		var out bytes.Buffer
		w := NewWriter(&out)
		w.SetDigests(l.HeaderDigest, l.DataDigest)
		var owners []*Buffer
		for i, s := range samples {
			owners = append(owners, put(w, i, s.data))
		}
		if got := w.Queued(); got != len(want) || out.Len() > 0 {
			t.Errorf("%d bytes are queued and %d written, want %d and 0", got, out.Len(), len(want))
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Error("it wrote something else")
		}
		for i, owner := range owners {
			if owner.shared() {
				t.Fatalf("the data of PDU %d is still held", i)
			}
			owner.Release()
		}
		if err := w.Flush(); err != nil || out.Len() != len(want) || w.Queued() != 0 {
			t.Errorf("another Flush wrote %d bytes: %v", out.Len()-len(want), err)
		}
	})
}

// TestWriterConnection has the system gather what is written, and the Reader take it apart.
func TestWriterConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := Limits{MaxRecvDataSegmentLength: 1 << 18, HeaderDigest: true, DataDigest: true}
	const batches, size = 20, 150
	failed := make(chan error, 1)
	go func() {
		w := NewWriter(server)
		w.SetDigests(true, true)
		for batch := range batches {
			for i := range size {
				put(w, batch*size+i, sizes[i%len(sizes)].data).Release()
			}
			if err := w.Flush(); err != nil {
				failed <- err
				return
			}
		}
		failed <- server.(*net.TCPConn).CloseWrite()
	}()
	r := NewReader(client)
	r.SetLimits(l)
	for i := range batches * size {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, l, i, sample{0, sizes[i%size%len(sizes)].data})
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestWriterFails(t *testing.T) {
	gone := errors.New("the peer is gone")
	calls := 0
	w := NewWriter(writerFunc(func([]byte) (int, error) {
		calls++
		return 0, gone
	}))
	for range 2 { // the error stays, and nothing more is written
		owner := put(w, 0, 4096)
		if err := w.Flush(); !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
		if owner.shared() || w.Queued() != 0 {
			t.Error("data that will never be written is held")
		}
		owner.Release()
	}
	if calls != 1 {
		t.Errorf("it wrote %d times", calls)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWriterDiscard(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	owner := put(w, 0, 4096)
	w.Discard()
	if owner.shared() || w.Queued() != 0 {
		t.Error("discarded data is held")
	}
	put(w, 1, 3).Release()
	if err := w.Flush(); err != nil || !bytes.Equal(out.Bytes(), appendSample(nil, Limits{}, 1, sample{0, 3})) {
		t.Errorf("after Discard it wrote % x, %v", out.Bytes(), err)
	}
}

package nbd

import (
	"encoding/binary"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"elstore/volume/nbdwire"
)

// slow is a disk whose first write hangs until it is let go, and that notes in which order writes were made, by their first bytes.
type slow struct {
	*disk
	began atomic.Bool
	let   chan struct{}
	made  []byte
}

func (d *slow) WriteAt(p []byte, off int64) (int, error) {
	if !d.began.Swap(true) {
		<-d.let
	}
	d.mu.Lock()
	d.made = append(d.made, p[0])
	d.mu.Unlock()
	return d.disk.WriteAt(p, off)
}

// connected connects a peer to an export, by a Serve whose end served tells.
func connected(t *testing.T, e Export) (p *peer, served chan error) {
	t.Helper()
	ours, theirs := net.Pipe()
	served = make(chan error, 1)
	go func() { served <- Serve(t.Context(), theirs, e) }()
	p = &peer{t: t, conn: ours}
	p.greet(nbdwire.FixedNewstyle | nbdwire.NoZeroes)
	p.option(nbdwire.OptExportName, nil)
	p.read(10)
	return p, served
}

// A client whose connection broke with a write at the device that hangs makes it again on another one, and then another write of the same
// blocks: the device gets them in that order. What lies elsewhere waits for nothing.
func TestWritesAgainOnAnotherConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slow{disk: newDisk(), let: make(chan struct{})}
		e := Export{Name: "x", Device: d, Order: &Order{}}
		send := func(to *peer, what byte, off uint64) {
			b := binary.BigEndian.AppendUint32(nil, nbdwire.RequestMagic)
			b = binary.BigEndian.AppendUint32(b, uint32(nbdwire.CmdWrite))
			b = append(b, what, 0, 0, 0, 0, 0, 0, 0)
			b = binary.BigEndian.AppendUint64(b, off)
			b = append(binary.BigEndian.AppendUint32(b, 512), make([]byte, 512)...)
			b[len(b)-512] = what
			if _, err := to.conn.Write(b); err != nil {
				t.Error(err)
			}
		}
		one, broken := connected(t, e)
		send(one, 1, 0)
		synctest.Wait() // it is at the device
		one.conn.Close()
		two, served := connected(t, e)
		answers := make(chan byte, 8)
		go func() {
			for range 3 {
				answers <- two.read(nbdwire.SimpleSize)[8]
			}
		}()
		send(two, 2, 256) // the same, which it overlaps
		synctest.Wait()
		send(two, 3, 4096)
		synctest.Wait()
		if got := <-answers; got != 3 || len(answers) > 0 {
			t.Errorf("answered is %d, and %d more", got, len(answers))
		}
		close(d.let)
		if got := <-answers; got != 2 {
			t.Errorf("answered is %d", got)
		}
		send(two, 4, 0)
		<-answers
		two.conn.Close()
		for _, ended := range []chan error{broken, served} {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if want := []byte{3, 1, 2, 4}; !slices.Equal(d.made, want) {
			t.Errorf("made were %d, want %d", d.made, want)
		}
	})
}

// Who waits for another connection's write and goes without a word leaves nothing behind.
func TestWhoWaitsAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &slow{disk: newDisk(), let: make(chan struct{})}
		e := Export{Name: "x", Device: d, Order: &Order{}}
		write := func() (gone func() error) {
			p, served := connected(t, e)
			b := binary.BigEndian.AppendUint32(nil, nbdwire.RequestMagic)
			b = binary.BigEndian.AppendUint32(b, uint32(nbdwire.CmdWrite))
			b = append(b, make([]byte, 16)...)
			p.write(append(binary.BigEndian.AppendUint32(b, 512), make([]byte, 512)...))
			synctest.Wait()
			return func() error { p.conn.Close(); return <-served }
		}
		first, second := write(), write()
		if err := second(); err != nil {
			t.Error(err)
		}
		close(d.let)
		if err := first(); err != nil {
			t.Error(err)
		}
		if len(d.made) != 1 || len(e.Order.spans) != 0 {
			t.Errorf("%d writes were made, and %d are noted", len(d.made), len(e.Order.spans))
		}
	})
}

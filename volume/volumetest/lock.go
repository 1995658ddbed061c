package volumetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func testLock(t *testing.T, s suite) {
	p := s.pool(t)
	q := p.other()
	id, m := p.create(meta(volume.Raw, mib), empty)
	free, _ := p.create(meta(volume.Raw, mib), empty)
	background := t.Context()
	over, cancel := context.WithCancel(background)
	cancel()
	ghost := volume.NewID()
	if _, err := p.Lock(background, ghost, volume.Operation{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locking what is not there: %v", err)
	}
	for _, b := range []*pool{p, q} {
		for _, inBin := range []bool{false, true} {
			h, err := p.Lock(background, id, volume.Operation{Purpose: "paint", Args: []string{"blue"}})
			if err != nil {
				t.Fatal(err)
			}
			if inBin {
				if err := h.Trash(background, when); err != nil {
					t.Fatal(err)
				}
			}
			_, err = b.Lock(over, id, volume.Operation{})
			wantCode(t, err, fault.VolumeAlreadyLocked)
			if err != nil && !strings.Contains(err.Error(), "paint") {
				t.Errorf("%v: the error does not say what holds the volume", err)
			}
			other, err := b.Lock(background, free, volume.Operation{})
			if err != nil {
				t.Fatal(err)
			}
			other.Unlock()

			// Who waits gets it.
			got := make(chan error)
			go func() {
				h, err := b.Lock(background, id, volume.Operation{Purpose: "wait"})
				if err == nil {
					h.Unlock()
				}
				got <- err
			}()
			select {
			case err := <-got:
				t.Fatalf("a volume was locked twice: %v", err)
			default:
			}
			if inBin {
				if err := h.Restore(background); err != nil {
					t.Fatal(err)
				}
			}
			h.Unlock()
			if err := <-got; err != nil {
				t.Errorf("waiting: %v", err)
			}
		}
	}
	h, err := p.Lock(over, id, volume.Operation{}) // a lock that is free needs no waiting
	if err != nil {
		t.Fatal(err)
	}
	h.Unlock()
	t.Run("purged while another waits", func(t *testing.T) {
		for _, b := range []*pool{p, q} {
			id, _ := p.create(meta(volume.Raw, mib), empty)
			h, err := p.Lock(background, id, volume.Operation{})
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan error)
			go func() {
				h, err := b.Lock(background, id, volume.Operation{})
				if err == nil {
					h.Unlock()
				}
				got <- err
			}()
			if err := h.Purge(background); err != nil {
				t.Fatal(err)
			}
			h.Unlock()
			if err := <-got; !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("waiting for a volume that is purged: %v", err)
			}
		}
	})
	t.Run("device", func(t *testing.T) {
		var d volume.Device
		p.must(id, func(h volume.Held, _ volume.Meta) (err error) {
			d, err = h.Open(background, m, false)
			return err
		})
		_, err := q.Lock(over, id, volume.Operation{})
		wantCode(t, err, fault.VolumeAlreadyLocked)
		p.must(id, func(volume.Held, volume.Meta) error { return nil })
		_, err = q.Lock(over, id, volume.Operation{})
		wantCode(t, err, fault.VolumeAlreadyLocked)
		h, err := p.Lock(background, id, volume.Operation{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil { // the operation still has it
			t.Error(err)
		}
		_, err = q.Lock(over, id, volume.Operation{})
		wantCode(t, err, fault.VolumeAlreadyLocked)
		h.Unlock()
		q.must(id, func(volume.Held, volume.Meta) error { return nil })
	})
	t.Run("lent", func(t *testing.T) {
		var l volume.Lent
		p.must(id, func(h volume.Held, m volume.Meta) (err error) {
			if l, err = h.Lend(background, m); fault.Is(err, fault.BadRequest) {
				return nil // the storage is others' too, or no file
			}
			return errors.Join(err, h.Idle(background, m))
		})
		if l == nil {
			return
		}
		_, err := q.Lock(over, id, volume.Operation{})
		wantCode(t, err, fault.VolumeAlreadyLocked)
		testLent(t, l, m)
		p.must(id, func(h volume.Held, m volume.Meta) error { return h.Idle(background, m) })
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		q.must(id, func(volume.Held, volume.Meta) error { return nil })
	})
	p.wantNothing()
}

// testLent opens an image by its path, as whoever it was lent to does.
func testLent(t *testing.T, l volume.Lent, m volume.Meta) {
	t.Helper()
	if l.Size() != m.Size {
		t.Errorf("it has %d bytes, want %d", l.Size(), m.Size)
	}
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR} {
		f, err := os.OpenFile(l.Path(), flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, l.Idle(), fault.ExportBusy)
		f.Close()
		if err := l.Idle(); err != nil {
			t.Errorf("nobody has it open: %v", err)
		}
	}
	for name, do := range map[string]func() error{
		"read":    func() error { _, err := l.ReadAt(make([]byte, 512), 0); return err },
		"write":   func() error { _, err := l.WriteAt(make([]byte, 512), 0); return err },
		"discard": func() error { return l.Discard(0, 512) },
		"zero":    func() error { return l.WriteZeroes(0, 512, false) },
		"flush":   func() error { return l.Flush(context.Background()) },
		"grow":    func() error { return l.Grow(2 * m.Size) },
	} {
		if err := do(); !fault.Is(err, fault.VolumeInUse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testDevice(t *testing.T, s suite) {
	for _, f := range s.pool(t).Caps().Formats {
		if f != volume.ISO {
			t.Run(string(f), func(t *testing.T) { testDeviceOf(t, s, f) })
		}
	}
}

func testDeviceOf(t *testing.T, s suite, f volume.Format) {
	p := s.pool(t)
	ctx := t.Context()
	const size = 4 * mib
	id, m := p.create(meta(f, size), empty)
	open := func(readonly bool) volume.Device {
		t.Helper()
		var d volume.Device
		p.must(id, func(h volume.Held, m volume.Meta) (err error) {
			d, err = h.Open(ctx, m, readonly)
			return err
		})
		return d
	}
	d := open(false)
	if d.Size() != size {
		t.Errorf("the Device has %d bytes, want %d", d.Size(), size)
	}
	data := pattern('w', size)
	if n, err := d.WriteAt(data, 0); n != size || err != nil {
		t.Fatalf("wrote %d bytes, %v", n, err)
	}
	testBounds(t, d, data)

	clear(data[mib : 2*mib])
	clear(data[2*mib+512 : 2*mib+1024])
	for _, err := range []error{
		d.WriteZeroes(mib, mib/2, false), d.WriteZeroes(mib+mib/2, mib/2, true), d.WriteZeroes(2*mib+512, 512, false),
		d.WriteZeroes(0, 0, true), d.Discard(0, 0), d.Discard(3*mib, mib), d.Flush(ctx),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	got := make([]byte, size)
	if _, err := d.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	same(t, got[:3*mib], data[:3*mib], 3*mib)
	for i, b := range got[3*mib:] {
		if b != 0 && b != data[3*mib+i] {
			t.Fatalf("byte %d reads %#x after it was discarded", 3*mib+i, b)
		}
	}
	if _, err := d.WriteAt(data[3*mib:], 3*mib); err != nil {
		t.Fatal(err)
	}

	p.must(id, func(h volume.Held, m volume.Meta) error { // it grows while it is open
		m, err := h.Resize(ctx, m, size+mib, false, volume.PreallocOff)
		if err != nil {
			return err
		}
		if d.Size() != size {
			t.Errorf("before Grow the Device has %d bytes, want %d", d.Size(), size)
		}
		if err := d.Grow(m.Size + mib); err == nil {
			t.Error("the Device grew over its image")
		}
		return d.Grow(m.Size)
	})
	tail := pattern('z', mib)
	if _, err := d.WriteAt(tail, size); err != nil {
		t.Errorf("writing where it grew: %v", err)
	}
	if d.Size() != size+mib {
		t.Errorf("after Grow the Device has %d bytes", d.Size())
	}
	testParallel(t, d)
	copy(data, bytesOf(t, d, 64*512))
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	p = p.reopened()
	p.want(id, append(data, tail...), size+mib)

	d = open(true)
	defer d.Close()
	if _, err := d.WriteAt(data[:512], 0); !fault.Is(err, fault.VolumeReadOnly) {
		t.Errorf("writing to a read-only Device: %v", err)
	}
	wantCode(t, d.Discard(0, 512), fault.VolumeReadOnly)
	wantCode(t, d.WriteZeroes(0, 512, false), fault.VolumeReadOnly)
	if err := d.Flush(ctx); err != nil {
		t.Error(err)
	}
	same(t, bytesOf(t, d, 4096), data, 4096)
	_ = m
}

func bytesOf(t *testing.T, d volume.Device, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// testBounds asks for what is not in the Device, which holds data.
func testBounds(t *testing.T, d volume.Device, data []byte) {
	t.Helper()
	size := d.Size()
	const far = int64(^uint64(0) >> 1)
	for _, at := range []struct{ off, length int64 }{
		{size, 512}, {size - 511, 512}, {-512, 512}, {far, 512}, {far - 511, 512}, {0, size + 512},
	} {
		p := make([]byte, at.length)
		if n, err := d.ReadAt(p, at.off); err == nil || n != 0 {
			t.Errorf("reading %d bytes at %d: %d, %v", at.length, at.off, n, err)
		}
		if n, err := d.WriteAt(p, at.off); err == nil || n != 0 {
			t.Errorf("writing %d bytes at %d: %d, %v", at.length, at.off, n, err)
		}
	}
	for _, at := range []struct{ off, length int64 }{
		{size, 512}, {-512, 512}, {512, -512}, {far, 512}, {512, far}, {far, far}, {0, size + 1},
	} {
		if err := d.Discard(at.off, at.length); err == nil {
			t.Errorf("discarding %d bytes at %d went well", at.length, at.off)
		}
		for _, unmap := range []bool{false, true} {
			if err := d.WriteZeroes(at.off, at.length, unmap); err == nil {
				t.Errorf("zeroing %d bytes at %d went well", at.length, at.off)
			}
		}
	}
	if d.Size() != size {
		t.Errorf("the Device has %d bytes, and had %d", d.Size(), size)
	}
	same(t, bytesOf(t, d, int(size)), data, size)
}

// testParallel has many goroutines write, read and flush the first 64 sectors.
func testParallel(t *testing.T, d volume.Device) {
	t.Helper()
	var work sync.WaitGroup
	for i := range 64 {
		work.Go(func() {
			sector, got := pattern(byte(i), 512), make([]byte, 512)
			for range 4 {
				if _, err := d.WriteAt(sector, int64(i)*512); err != nil {
					t.Error(err)
				}
				if err := d.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := d.ReadAt(got, int64(i)*512); err != nil {
					t.Error(err)
				}
				if string(got) != string(sector) {
					t.Errorf("sector %d does not hold what was written", i)
				}
			}
		})
	}
	work.Wait()
}

// testConcurrent has two Backends work at the same volumes at the same time, while others look on.
func testConcurrent(t *testing.T, s suite) {
	p := s.pool(t)
	q := p.other()
	ctx := t.Context()
	shared, _ := p.create(meta(volume.Raw, mib), empty)
	end := make(chan struct{})
	var watching, work sync.WaitGroup
	for _, b := range []*pool{p, q} {
		watching.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				ids, err := b.List(ctx)
				if err != nil {
					t.Error(err)
				}
				for _, id := range ids {
					if f, err := b.Load(ctx, id); err == nil && f.Problem != nil {
						t.Error(f.Problem)
					} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
				}
				if err := b.Scan(ctx, func(f volume.Found) error {
					if fault.Is(f.Problem, fault.VolumeDamaged) {
						return f.Problem
					}
					return nil
				}); err != nil {
					t.Errorf("Scan: %v", err)
				}
			}
		})
	}
	const workers, rounds = 4, 6
	for w := range workers {
		b := []*pool{p, q}[w%2]
		work.Go(func() {
			for round := range rounds {
				if err := oneRound(ctx, b, shared, fmt.Sprintf("%d-%d", w, round)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	close(end)
	watching.Wait()
	if f := p.load(shared); len(f.Meta.Extra) != workers*rounds {
		t.Errorf("of %d changes to one volume %d are there", workers*rounds, len(f.Meta.Extra))
	}
	for _, b := range []*pool{p, q} {
		if found := b.scan(); len(found) != 1 {
			t.Errorf("%d volumes are left, want 1", len(found))
		}
	}
	p.wantNothing()
}

// oneRound lives the life of a volume, and adds a key to another that all rounds share.
func oneRound(ctx context.Context, b *pool, shared volume.ID, key string) error {
	id := volume.NewID()
	if _, err := b.make(ctx, id, meta(volume.Raw, mib), empty); err != nil {
		return err
	}
	err := b.locked(shared, func(h volume.Held, m volume.Meta) error {
		m.Extra = with(m.Extra, key)
		return h.SetMeta(ctx, m)
	})
	if err != nil {
		return err
	}
	return b.locked(id, func(h volume.Held, m volume.Meta) error {
		m, err := h.Resize(ctx, m, 2*mib, false, volume.PreallocOff)
		if err != nil {
			return err
		}
		if _, err = h.Replace(ctx, m, empty); err != nil {
			return err
		}
		if err := h.Trash(ctx, when); err != nil {
			return err
		}
		return h.Purge(ctx)
	})
}

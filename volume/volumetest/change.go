package volumetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// when is the time at which the suite deletes.
var when = time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC)

func testResize(t *testing.T, s suite) {
	data := pattern('r', mib)
	for _, tt := range []struct {
		name     string
		to       int64
		shrink   bool
		prealloc volume.Prealloc
		code     fault.Code
	}{
		{"grow", 3 * mib, false, volume.PreallocOff, ""},
		{"grow by a sector", mib + 512, false, volume.PreallocOff, ""},
		{"grow where shrinking is allowed", 3 * mib, true, volume.PreallocOff, ""},
		{"grow with metadata", 3 * mib, false, volume.PreallocMetadata, ""},
		{"grow with room", 3 * mib, false, volume.PreallocFalloc, ""},
		{"grow with zeros", 3 * mib, false, volume.PreallocFull, ""},
		{"stay", mib, false, volume.PreallocOff, ""},
		{"shrink", mib / 2, true, volume.PreallocOff, ""},
		{"shrink to a sector", 512, true, volume.PreallocOff, ""},
		{"shrink where that is not allowed", mib / 2, false, volume.PreallocOff, fault.VolumeDimensionNotShrinkable},
		{"zero", 0, true, volume.PreallocOff, fault.BadRequest},
		{"negative", -512, true, volume.PreallocOff, fault.BadRequest},
		{"no whole sectors", mib + 1, false, volume.PreallocOff, fault.BadRequest},
		{"more than there can be", volume.MaxSize + 512, false, volume.PreallocOff, fault.BadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := s.pool(t)
			for _, f := range p.formats() {
				id, m := p.create(meta(f, mib), of(outside(t, data)))
				want := m
				p.must(id, func(h volume.Held, m volume.Meta) error {
					got, err := h.Resize(t.Context(), m, tt.to, tt.shrink, tt.prealloc)
					if tt.code != "" {
						wantCode(t, err, tt.code)
						return nil
					}
					want.Size = tt.to
					if !equal(got, want) {
						t.Errorf("%s: Resize returned %+v, want %+v", f, got, want)
					}
					if st, serr := p.Stat(id, got); err == nil && tt.prealloc.Takes() && st.OnDisk < 3*mib/2 {
						t.Errorf("%s: after growing with preallocation %s it takes %d bytes, %v", f, tt.prealloc, st.OnDisk, serr)
					}
					return err
				})
				p.want(id, data, want.Size)
				p.reopened().want(id, data, want.Size)
				p = s.pool(t)
			}
		})
	}
	t.Run("grown after it was shrunk", func(t *testing.T) {
		p := s.pool(t)
		for _, f := range p.formats() {
			id, _ := p.create(meta(f, mib), of(outside(t, data)))
			p.must(id, func(h volume.Held, m volume.Meta) error {
				m, err := h.Resize(t.Context(), m, mib/2, true, volume.PreallocOff)
				if err != nil {
					return err
				}
				_, err = h.Resize(t.Context(), m, mib, false, volume.PreallocOff)
				return err
			})
			p.want(id, data[:mib/2], mib)
		}
		p.wantNothing()
	})
}

func testConvert(t *testing.T, s suite) {
	p := s.pool(t)
	data := pattern('c', mib)
	for _, from := range p.formats() {
		for _, to := range p.formats() {
			id, m := p.create(meta(from, 2*mib), of(outside(t, data)))
			told := &progress{t: t}
			p.must(id, func(h volume.Held, m volume.Meta) error {
				got, err := h.Convert(t.Context(), m, to, told.tell)
				m.Format = to
				if !equal(got, m) {
					t.Errorf("Convert returned %+v, want %+v", got, m)
				}
				return err
			})
			if from != to {
				told.end()
			}
			m.Format = to
			p.want(id, data, 2*mib)
			p.wantNothing()
			p = p.reopened()
			p.wantVolumes(map[volume.ID]volume.Meta{id: m})
			p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Purge(t.Context()) })
		}
	}
	id, m := p.create(meta(volume.Raw, mib), empty)
	for _, to := range []volume.Format{volume.ISO, volume.RBD} {
		if slices.Contains(p.Caps().Formats, to) && to == volume.RBD {
			continue
		}
		err := p.locked(id, func(h volume.Held, m volume.Meta) error {
			_, err := h.Convert(t.Context(), m, to, nil)
			return err
		})
		wantCode(t, err, fault.UnsupportedFormat)
	}
	p.wantVolumes(map[volume.ID]volume.Meta{id: m})
}

func testReplace(t *testing.T, s suite) {
	p := s.pool(t)
	ctx := t.Context()
	before, after := pattern('b', mib), pattern('a', mib/2)
	for _, f := range p.formats() {
		for _, tt := range []struct {
			name string
			data []byte
			c    volume.Content
			code fault.Code
		}{
			{"other content", after, of(outside(t, after)), ""},
			{"zeros", nil, empty, ""},
			{"too much", before, of(outside(t, pattern('t', 2*mib))), fault.VolumeDimensionNotShrinkable},
		} {
			id, m := p.create(meta(f, mib), of(outside(t, before)))
			told := &progress{t: t}
			tt.c.Progress = told.tell
			err := p.locked(id, func(h volume.Held, m volume.Meta) error {
				got, err := h.Replace(ctx, m, tt.c)
				if !equal(got, m) {
					t.Errorf("Replace returned %+v, want %+v", got, m)
				}
				return err
			})
			if tt.code != "" {
				wantCode(t, err, tt.code)
			} else if err != nil {
				t.Errorf("%s %s: %v", f, tt.name, err)
			} else {
				told.end()
			}
			p.want(id, tt.data, mib)
			if !equal(p.load(id).Meta, m) {
				t.Errorf("%s %s: the attributes changed", f, tt.name)
			}
			p.wantNothing()
		}
	}
	t.Run("incoming", func(t *testing.T) { testIncoming(t, s) })
	t.Run("overlay", func(t *testing.T) {
		p := s.pool(t)
		if !p.keeps(volume.QCOW2) {
			return
		}
		id, _ := p.create(meta(volume.QCOW2, mib), of(outside(t, before)))
		for _, data := range [][]byte{after, before} {
			c := of(outside(t, data))
			c.Overlay = true
			p.must(id, func(h volume.Held, m volume.Meta) error {
				got, err := h.Replace(ctx, m, c)
				if got.Base == "" || got.Base == m.Base {
					t.Errorf("the base is %q and was %q", got.Base, m.Base)
				}
				return err
			})
			p.want(id, data, mib)
			if bytes := p.BaseBytes(); bytes > mib+mib/2 {
				t.Errorf("the bases have %d bytes: the old one is still there", bytes)
			}
		}
		p.must(id, func(h volume.Held, m volume.Meta) error {
			m, err := h.Replace(ctx, m, empty)
			if m.Base != "" {
				t.Errorf("replaced by zeros, the base is %q", m.Base)
			}
			return err
		})
		if p.BaseBytes() != 0 {
			t.Errorf("without users the bases have %d bytes", p.BaseBytes())
		}
		p.want(id, nil, mib)
		p.wantNothing()
	})
}

// testIncoming lets data arrive in two parts, with a restart between them.
func testIncoming(t *testing.T, s suite) {
	p := s.pool(t)
	before, data := pattern('b', mib), pattern('a', mib)
	id, _ := p.create(meta(volume.Raw, mib), of(outside(t, before)))
	received := func(p *pool, want int64) {
		t.Helper()
		p.must(id, func(h volume.Held, _ volume.Meta) error {
			n, err := h.Received()
			if n != want {
				t.Errorf("%d bytes have arrived, want %d", n, want)
			}
			return err
		})
	}
	send := func(p *pool, part []byte, off int64) {
		t.Helper()
		p.must(id, func(h volume.Held, _ volume.Meta) error {
			f, err := h.Incoming()
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(part, off)
			return err
		})
	}
	received(p, 0)
	send(p, data[:1000], 0)
	p = p.reopened()
	received(p, 1000)
	send(p, data[1000:], 1000)
	received(p, mib)
	p.want(id, before, mib)
	p.must(id, func(h volume.Held, m volume.Meta) error {
		f, err := h.Incoming()
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = h.Replace(t.Context(), m, of(volume.Image{Path: f.Name(), Format: "raw", Size: mib, Owned: true}))
		return err
	})
	p.want(id, data, mib)
	received(p, 0)
	send(p, data[:10], 0)
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.DropIncoming() })
	received(p, 0)
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.DropIncoming() })
	p.wantNothing()
}

func testCopies(t *testing.T, s suite) {
	p := s.pool(t)
	ctx := t.Context()
	data := pattern('s', mib)
	for _, f := range p.formats() {
		id, _ := p.create(meta(f, mib), of(outside(t, data)))
		var releases []func()
		var images []volume.Image
		p.must(id, func(h volume.Held, m volume.Meta) error {
			img, release, err := h.Snapshot(ctx, m)
			switch {
			case (p.Caps().Reflink || f == volume.RBD) && err != nil:
				t.Errorf("Snapshot: %v", err)
			case !p.Caps().Reflink && f != volume.RBD && !errors.Is(err, volume.ErrNoReflink):
				t.Errorf("Snapshot where blocks can't be shared: %v", err)
			case err == nil:
				images, releases = append(images, img), append(releases, release)
			}
			for _, to := range p.formats() {
				told := &progress{t: t}
				if to == volume.RBD {
					_, _, err := h.Export(ctx, m, to, nil)
					wantCode(t, err, fault.UnsupportedFormat)
					continue
				}
				img, release, err := h.Export(ctx, m, to, told.tell)
				if err != nil {
					return err
				}
				told.end()
				if img.Size != m.Size || img.Base != "" {
					t.Errorf("the export is named %+v", img)
				}
				images, releases = append(images, img), append(releases, release)
			}
			_, err = h.Replace(ctx, m, empty)
			return err
		})
		// They outlive the lock, the next operation and another process's Scan, and don't see what happens to the volume.
		p.must(id, func(volume.Held, volume.Meta) error { return nil })
		p.other()
		for _, img := range images {
			copied, _ := p.create(meta(f, mib), of(img))
			p.want(copied, data, mib)
		}
		for _, release := range releases {
			release()
			release()
		}
		for _, img := range images {
			if _, err := os.Stat(img.Path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a released copy is still there: %v", err)
			}
		}
		p.want(id, nil, mib)
	}
	p.wantNothing()
}

func testBin(t *testing.T, s suite) {
	ctx := t.Context()
	p := s.pool(t)
	data := pattern('d', mib)
	id, m := p.create(meta(volume.Raw, mib), of(outside(t, data)))
	trashed := func(p *pool, want bool) {
		t.Helper()
		f, ok := p.scan()[id]
		if !ok || f.Problem != nil || !equal(f.Meta, m) || f.Trashed.Equal(when) != want || f.Trashed.IsZero() == want {
			t.Errorf("Scan found %t %+v, want it in the bin: %t", ok, f, want)
		}
		ids, err := p.List(ctx)
		if err != nil || slices.Contains(ids, id) == want {
			t.Errorf("List returned %v, %v, want it in the bin: %t", ids, err, want)
		}
		if _, err := p.Load(ctx, id); errors.Is(err, fs.ErrNotExist) != want {
			t.Errorf("Load: %v, want it in the bin: %t", err, want)
		}
		if _, err := p.Stat(id, m); err != nil {
			t.Errorf("Stat: %v", err)
		}
		h, err := p.Lock(ctx, id, volume.Operation{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Unlock()
		if f, err := h.Load(ctx); err != nil || f.Trashed.IsZero() == want {
			t.Errorf("under the lock Load found %+v, %v, want it in the bin: %t", f, err, want)
		}
	}
	trash := func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) }
	restore := func(h volume.Held, _ volume.Meta) error { return h.Restore(ctx) }
	purge := func(h volume.Held, _ volume.Meta) error { return h.Purge(ctx) }
	for range 2 { // each is idempotent
		p.must(id, trash)
		trashed(p, true)
		trashed(p.other(), true)
	}
	p.must(id, func(h volume.Held, m volume.Meta) error {
		_, err := h.Resize(ctx, m, 2*mib, false, volume.PreallocOff)
		wantCode(t, err, fault.VolumeInTrash)
		_, err = h.Open(ctx, m, true)
		wantCode(t, err, fault.VolumeInTrash)
		return nil
	})
	for range 2 {
		p.must(id, restore)
		trashed(p, false)
		trashed(p.other(), false)
	}
	p.want(id, data, mib)
	p.must(id, func(h volume.Held, m volume.Meta) error { // all in one operation
		return errors.Join(trash(h, m), restore(h, m), trash(h, m))
	})
	p.must(id, func(h volume.Held, m volume.Meta) error {
		if err := purge(h, m); err != nil {
			return err
		}
		if _, err := h.Load(ctx); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a purged volume can be loaded: %v", err)
		}
		return purge(h, m)
	})
	if _, err := p.Lock(ctx, id, volume.Operation{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a purged volume can be locked: %v", err)
	}
	p.wantVolumes(nil)
	p.wantNothing()

	// The id is free again.
	if _, err := p.make(ctx, id, meta(volume.Raw, mib), empty); err != nil {
		t.Fatal(err)
	}
	p.must(id, purge)
	p.wantVolumes(nil)
	p.wantNothing()
}

func testCancel(t *testing.T, s suite) {
	data := pattern('x', 2*mib)
	over, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	cancel(gone)
	p := s.pool(t)
	for _, f := range p.formats() {
		id, m := p.create(meta(f, 2*mib), of(outside(t, data)))
		other := p.formats()[len(p.formats())-1]
		if other == f {
			other = p.formats()[0]
		}
		for _, tt := range []struct {
			name string
			do   func(ctx context.Context, h volume.Held, told volume.Progress) error
		}{
			{"Resize", func(ctx context.Context, h volume.Held, _ volume.Progress) error {
				_, err := h.Resize(ctx, m, 4*mib, false, volume.PreallocFull)
				return err
			}},
			{"Convert", func(ctx context.Context, h volume.Held, told volume.Progress) error {
				if other == f {
					return context.Cause(ctx)
				}
				_, err := h.Convert(ctx, m, other, told)
				return err
			}},
			{"Replace", func(ctx context.Context, h volume.Held, told volume.Progress) error {
				c := of(outside(t, pattern('y', 2*mib)))
				c.Progress = told
				_, err := h.Replace(ctx, m, c)
				return err
			}},
			{"Export", func(ctx context.Context, h volume.Held, told volume.Progress) error {
				_, _, err := h.Export(ctx, m, other, told)
				return err
			}},
			{"clone", func(ctx context.Context, h volume.Held, told volume.Progress) error {
				c := of(h.Image(m))
				c.Progress = told
				_, err := p.make(ctx, volume.NewID(), meta(f, 2*mib), c)
				return err
			}},
			{"SetMeta", func(ctx context.Context, h volume.Held, _ volume.Progress) error { return h.SetMeta(ctx, m) }},
			{"Trash", func(ctx context.Context, h volume.Held, _ volume.Progress) error { return h.Trash(ctx, when) }},
			{"Purge", func(ctx context.Context, h volume.Held, _ volume.Progress) error { return h.Purge(ctx) }},
		} {
			t.Run(string(f)+" "+tt.name, func(t *testing.T) {
				p.must(id, func(h volume.Held, _ volume.Meta) error {
					if err := tt.do(over, h, nil); !errors.Is(err, gone) && !errors.Is(err, context.Canceled) {
						t.Errorf("with a context that is over: %v", err)
					}
					return nil
				})
				p.wantVolumes(map[volume.ID]volume.Meta{id: m})
				p.want(id, data, 2*mib)
				p.wantNothing()
			})
		}
		t.Run(string(f)+" in the middle", func(t *testing.T) {
			p.must(id, func(h volume.Held, _ volume.Meta) error {
				ctx, cancel := context.WithCancelCause(t.Context())
				c := of(outside(t, pattern('y', 2*mib)))
				c.Progress = func(done, total int64) {
					if done < total {
						cancel(gone)
					}
				}
				// A copy that takes no time has no middle, and then succeeds.
				if got, err := h.Replace(ctx, m, c); err == nil {
					_, err = h.Replace(t.Context(), got, of(outside(t, data)))
					return err
				} else if !errors.Is(err, gone) && !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled in the middle: %v", err)
				}
				return nil
			})
			p.want(id, data, 2*mib)
			p.wantNothing()
		})
		p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Purge(t.Context()) })
	}
	if _, err := p.Stage(over, volume.NewID()); !errors.Is(err, gone) {
		t.Errorf("Stage with a context that is over: %v", err)
	}
	id, _ := p.create(meta(volume.Raw, mib), empty)
	if err := p.Scan(over, func(volume.Found) error { return nil }); !errors.Is(err, gone) {
		t.Errorf("Scan with a context that is over: %v", err)
	}
	if err := p.Scan(t.Context(), func(volume.Found) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("Scan whose yield fails: %v", err)
	}
	p.want(id, nil, mib)
}

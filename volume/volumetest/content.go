package volumetest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

const mib = 1 << 20

// wantCode fails the test unless err is of the code.
func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("error %v (%s), want %s", err, fault.CodeOf(err), code)
	}
}

// wantNothing fails the test if something lies there that no volume accounts for.
func (p *pool) wantNothing() {
	p.t.Helper()
	if left := p.storage.Leftovers(p.t); len(left) > 0 {
		p.t.Errorf("left over are %q", left)
	}
}

func testCreate(t *testing.T, s suite) {
	p := s.pool(t)
	made := map[volume.ID]volume.Meta{}
	for _, f := range p.formats() {
		for _, a := range []volume.Prealloc{"", volume.PreallocOff, volume.PreallocMetadata, volume.PreallocFalloc, volume.PreallocFull} {
			told := &progress{t: t}
			id, m := p.create(meta(f, mib), volume.Content{Prealloc: a, Progress: told.tell})
			told.end()
			made[id] = m
			p.want(id, nil, mib)
			st, err := p.Stat(id, m)
			if err != nil || st.Modified.IsZero() {
				t.Errorf("Stat: %+v, %v", st, err)
			}
			if a.Takes() && st.OnDisk < mib {
				t.Errorf("a %s volume with preallocation %s takes %d bytes, less than its size", f, a, st.OnDisk)
			}
		}
		sparse, m := p.create(meta(f, 64*mib), empty)
		made[sparse] = m
		if st, err := p.Stat(sparse, m); err != nil || st.OnDisk > mib {
			t.Errorf("an empty %s volume takes %d bytes, %v", f, st.OnDisk, err)
		}
	}
	if p.keeps(volume.ISO) {
		m := meta(volume.ISO, 0)
		m.ReadOnly = true
		id, m := p.create(m, of(outside(t, pattern('i', 4096))))
		made[id] = m
		p.want(id, pattern('i', 4096), 4096)
	}
	p.wantNothing()
	for _, q := range []*pool{p, p.other()} {
		q.wantVolumes(made)
	}
	ghost := volume.NewID()
	if _, err := p.Load(t.Context(), ghost); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("loading a volume that is not there: %v", err)
	}
	if _, err := p.Stat(ghost, meta(volume.Raw, mib)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat of a volume that is not there: %v", err)
	}
}

// wantVolumes fails the test unless exactly these stand in the pool.
func (p *pool) wantVolumes(want map[volume.ID]volume.Meta) {
	p.t.Helper()
	found := p.scan()
	if len(found) != len(want) {
		p.t.Errorf("Scan found %d volumes, want %d", len(found), len(want))
	}
	ids, err := p.List(context.Background())
	if err != nil {
		p.t.Errorf("List: %v", err)
	}
	for _, id := range ids { // it may name what is none
		if _, err := p.Load(context.Background(), id); err == nil && want[id].Name == "" {
			p.t.Errorf("List and Load found volume %s", id)
		}
	}
	for id, m := range want {
		if !slices.Contains(ids, id) {
			p.t.Errorf("List lacks volume %s", id)
		}
		for _, f := range []volume.Found{found[id], p.load(id)} {
			if f.ID != id || f.Problem != nil || !f.Trashed.IsZero() || f.Changed.IsZero() || !equal(f.Meta, m) {
				p.t.Errorf("volume %s is %+v, want %+v", id, f, m)
			}
		}
	}
}

func equal(a, b volume.Meta) bool { return string(a.Encode()) == string(b.Encode()) }

func testStage(t *testing.T, s suite) {
	p := s.pool(t)
	ctx := t.Context()
	id := volume.NewID()
	st, err := p.Stage(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.Fill(ctx, meta(volume.Raw, mib), empty)
	if err != nil {
		t.Fatal(err)
	}
	p.wantVolumes(nil)
	p.other().wantVolumes(nil) // and its Scan leaves it alone
	if _, err := p.Lock(ctx, id, volume.Operation{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a volume in the making can be locked: %v", err)
	}
	if _, err := p.Stage(ctx, id); !fault.Is(err, fault.VolumeAlreadyLocked) && !fault.Is(err, fault.VolumeExists) {
		t.Errorf("a volume in the making can be made again: %v", err)
	}
	if err := st.Commit(ctx, m); err != nil {
		t.Fatal(err)
	}
	st.Discard()
	st.Discard()
	p.wantVolumes(map[volume.ID]volume.Meta{id: m})
	_, err = p.Stage(ctx, id)
	wantCode(t, err, fault.VolumeExists)
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) })
	_, err = p.Stage(ctx, id)
	wantCode(t, err, fault.VolumeExists)

	t.Run("discarded", func(t *testing.T) {
		p := s.pool(t)
		for _, fill := range []bool{false, true} {
			st, err := p.Stage(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			f, err := st.Incoming()
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if fill {
				if _, err := st.Fill(ctx, meta(volume.Raw, mib), empty); err != nil {
					t.Fatal(err)
				}
			}
			st.Discard()
			st.Discard()
			p.wantVolumes(nil)
			p.wantNothing()
		}
	})
	t.Run("taken meanwhile", func(t *testing.T) {
		p := s.pool(t)
		st, err := p.Stage(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Discard()
		if err := st.Commit(ctx, meta(volume.Raw, mib)); err == nil {
			t.Error("a volume without an image was committed")
		}
		p.wantVolumes(nil)
	})
	t.Run("incoming", func(t *testing.T) {
		p := s.pool(t)
		st, err := p.Stage(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Discard()
		f, err := st.Incoming()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		data := pattern('a', 100_000)
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		img := volume.Image{Path: f.Name(), Format: "raw", Size: int64(len(data)), Owned: true}
		m, err := st.Fill(ctx, meta(volume.Raw, mib), of(img))
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Commit(ctx, m); err != nil {
			t.Fatal(err)
		}
		p.want(id, data, mib)
		p.must(id, func(h volume.Held, _ volume.Meta) error {
			n, err := h.Received()
			if n != 0 {
				t.Errorf("the new volume says that %d bytes have arrived for it", n)
			}
			return err
		})
		p.wantNothing()
	})
}

func testFill(t *testing.T, s suite) {
	data := pattern('f', 300_000)
	odd := int64(300_032) // the next whole sector
	for _, tt := range []struct {
		name string
		size int64
		want int64
		code fault.Code // of the refusal, or ""
	}{
		{"the source's size", 0, odd, ""},
		{"larger", mib, mib, ""},
		{"exact", odd, odd, ""},
		{"smaller", odd - 512, 0, fault.VolumeDimensionNotShrinkable},
		{"negative", -512, 0, fault.BadRequest},
		{"more than there can be", volume.MaxSize + 512, 0, fault.BadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := s.pool(t)
			for _, f := range p.formats() {
				told := &progress{t: t}
				c := of(outside(t, data))
				c.Progress = told.tell
				id := volume.NewID()
				m, err := p.make(t.Context(), id, meta(f, tt.size), c)
				if tt.code != "" {
					wantCode(t, err, tt.code)
					p.wantVolumes(nil)
					p.wantNothing()
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				told.end()
				if m.Size != tt.want {
					t.Errorf("%s: Fill returned %d bytes, want %d", f, m.Size, tt.want)
				}
				p.want(id, data, tt.want)
				p.reopened().want(id, data, tt.want)
				p = s.pool(t)
			}
		})
	}
	t.Run("from each other", func(t *testing.T) { testClone(t, s, data) })
	t.Run("refused", func(t *testing.T) {
		p := s.pool(t)
		for _, tt := range []struct {
			name string
			meta volume.Meta
			c    volume.Content
		}{
			{"nothing without a size", meta(volume.Raw, 0), empty},
			{"an overlay of nothing", meta(volume.QCOW2, mib), volume.Content{Overlay: true}},
			{"a raw overlay", meta(volume.Raw, mib), volume.Content{From: &volume.Image{Path: "/x", Format: "raw", Size: 1}, Overlay: true}},
			{"a source of no size", meta(volume.Raw, mib), of(volume.Image{Path: "/x", Format: "raw"})},
			{"a source that is not there", meta(volume.Raw, mib), of(volume.Image{Path: t.TempDir() + "/x", Format: "raw", Size: 512})},
			{"a source of an unknown format", meta(volume.Raw, mib), of(volume.Image{Path: "/x", Format: "luks", Size: 512})},
			{"a source that is a directory", meta(volume.Raw, mib), of(volume.Image{Path: t.TempDir(), Format: "raw", Size: 512})},
		} {
			if _, err := p.make(t.Context(), volume.NewID(), tt.meta, tt.c); err == nil {
				t.Errorf("%s was accepted", tt.name)
			}
		}
		p.wantVolumes(nil)
		p.wantNothing()
	})
}

// testClone copies volumes of every format into volumes of every format, in the same pool and another.
func testClone(t *testing.T, s suite, data []byte) {
	p, far := s.pool(t), s.pool(t)
	for _, from := range p.formats() {
		id, m := p.create(meta(from, mib), of(outside(t, data)))
		for _, to := range p.formats() {
			for _, q := range []*pool{p, far} {
				p.must(id, func(h volume.Held, _ volume.Meta) error {
					img := h.Image(m)
					if img.Size != m.Size || img.OnDisk <= 0 || img.Pool == nil {
						t.Errorf("the image is named %+v", img)
					}
					told := &progress{t: t}
					c := of(img)
					c.Progress = told.tell
					clone, _ := q.create(meta(to, 0), c)
					told.end()
					q.want(clone, data, mib)
					larger, _ := q.create(meta(to, 2*mib), of(img))
					q.want(larger, data, 2*mib)
					return nil
				})
			}
		}
		p.want(id, data, mib)
	}
	p.wantNothing()
	far.wantNothing()
}

func testOverlay(t *testing.T, s suite) {
	p := s.pool(t)
	if !p.keeps(volume.QCOW2) {
		return
	}
	ctx := t.Context()
	data := pattern('o', 300_000)
	c := of(outside(t, data))
	c.Overlay = true
	told := &progress{t: t}
	c.Progress = told.tell
	first, m := p.create(meta(volume.QCOW2, mib), c)
	told.end()
	if m.Base == "" || p.BaseBytes() < int64(len(data)) {
		t.Errorf("an overlay has base %q, and the pool's bases have %d bytes", m.Base, p.BaseBytes())
	}
	one := p.BaseBytes()
	c.Progress = nil
	second, m2 := p.create(meta(volume.QCOW2, 2*mib), c)
	if m2.Base != m.Base || p.BaseBytes() != one {
		t.Errorf("the same content has bases %q and %q, of %d and %d bytes", m.Base, m2.Base, one, p.BaseBytes())
	}
	p.want(first, data, mib)
	p.want(second, data, 2*mib)

	var clone, far volume.ID
	q := s.pool(t)
	p.must(first, func(h volume.Held, m volume.Meta) error {
		var cm volume.Meta
		clone, cm = p.create(meta(volume.QCOW2, mib), of(h.Image(m)))
		if cm.Base != m.Base {
			t.Errorf("a clone has base %q, want %q", cm.Base, m.Base)
		}
		far, cm = q.create(meta(volume.QCOW2, mib), of(h.Image(m)))
		if cm.Base != "" {
			t.Errorf("a clone in another pool has base %q", cm.Base)
		}
		return nil
	})
	p.want(clone, data, mib)
	q.want(far, data, mib)

	// Of a base, every volume is one reason to stay: the second goes, the first lies in the bin, the clone is compacted.
	p.must(second, func(h volume.Held, _ volume.Meta) error { return h.Purge(ctx) })
	p.must(first, func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) })
	p = p.reopened()
	if p.BaseBytes() != one {
		t.Errorf("with users left, and after a restart, the bases have %d bytes, want %d", p.BaseBytes(), one)
	}
	p.must(clone, func(h volume.Held, m volume.Meta) error {
		told := &progress{t: t}
		m, err := h.Compact(ctx, m, told.tell)
		if err != nil || m.Base != "" {
			t.Errorf("compacted, the base is %q, %v", m.Base, err)
		}
		told.end()
		again, err := h.Compact(ctx, m, nil)
		if err != nil || !equal(again, m) {
			t.Errorf("compacted again: %v", err)
		}
		return nil
	})
	p.want(clone, data, mib)
	if p.BaseBytes() != one {
		t.Errorf("a base is gone that a volume in the bin needs")
	}
	p.must(first, func(h volume.Held, _ volume.Meta) error { return h.Restore(ctx) })
	p.want(first, data, mib)
	p.must(first, func(h volume.Held, m volume.Meta) error {
		m, err := h.Convert(ctx, m, volume.Raw, nil)
		if m.Base != "" {
			t.Errorf("converted to raw, the base is %q", m.Base)
		}
		return err
	})
	if p.BaseBytes() != 0 {
		t.Errorf("without users the bases have %d bytes", p.BaseBytes())
	}
	p.want(first, data, mib)
	p.want(clone, data, mib)
	p.wantNothing()
}

func testSetMeta(t *testing.T, s suite) {
	p := s.pool(t)
	id, m := p.create(meta(volume.Raw, mib), empty)
	m.Name, m.Private, m.Bootable, m.ReadOnly = "näme \" with \\ signs", true, true, true
	m.Bus, m.Alg, m.Clonable = volume.IDE, volume.Rsync, false
	m.Extra = map[string]json.RawMessage{"read_iops": json.RawMessage(`100`), "x": json.RawMessage(`{"a":[1,2]}`)}
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.SetMeta(t.Context(), m) })
	p.wantVolumes(map[volume.ID]volume.Meta{id: m})
	p = p.reopened()
	p.wantVolumes(map[volume.ID]volume.Meta{id: m})
	for _, change := range []func(*volume.Meta){
		func(m *volume.Meta) { m.Size *= 2 },
		func(m *volume.Meta) { m.Format = volume.QCOW2 },
		func(m *volume.Meta) { m.Base = "x" },
	} {
		wrong := m
		change(&wrong)
		if err := p.locked(id, func(h volume.Held, _ volume.Meta) error { return h.SetMeta(t.Context(), wrong) }); err == nil {
			t.Errorf("attributes were set that belong to the image: %+v", wrong)
		}
	}
	p.wantVolumes(map[volume.ID]volume.Meta{id: m})
	p.wantNothing()
}

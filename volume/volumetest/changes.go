package volumetest

import (
	"context"
	"testing"

	"elstore/volume"
)

// changes returns every change of a pool that there is.
func changes(t testing.TB) []change {
	ctx := context.Background()
	old, fresh := pattern('o', mib), pattern('n', mib/2)
	oldImage, freshImage := outside(t, old), outside(t, fresh)
	overlay := of(freshImage)
	overlay.Overlay = true
	nothing := func(*pool) {}
	has := func(f volume.Format, c volume.Content) func(p *pool) {
		return func(p *pool) {
			p.t.Helper()
			if _, err := p.make(ctx, subject, meta(f, mib), c); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	then := func(first func(*pool), do func(h volume.Held, m volume.Meta) error) func(*pool) {
		return func(p *pool) {
			p.t.Helper()
			first(p)
			p.must(subject, do)
		}
	}
	create := func(m volume.Meta, c volume.Content) func(volume.Backend) error {
		return func(b volume.Backend) error {
			_, err := (&pool{Backend: b}).make(ctx, subject, m, c)
			return done(err)
		}
	}
	under := func(do func(h volume.Held, m volume.Meta) error) func(volume.Backend) error {
		return func(b volume.Backend) error { return done(lockedBy(b, subject, do)) }
	}
	resize := func(size int64, prealloc volume.Prealloc) func(volume.Backend) error {
		return under(func(h volume.Held, m volume.Meta) error {
			_, err := h.Resize(ctx, m, size, true, prealloc)
			return err
		})
	}
	convert := func(to volume.Format) func(volume.Backend) error {
		return under(func(h volume.Held, m volume.Meta) error {
			_, err := h.Convert(ctx, m, to, nil)
			return err
		})
	}
	replace := func(c volume.Content) func(volume.Backend) error {
		return under(func(h volume.Held, m volume.Meta) error {
			_, err := h.Replace(ctx, m, c)
			return err
		})
	}
	clone := func(b volume.Backend) error {
		return done(lockedBy(b, subject, func(h volume.Held, m volume.Meta) error {
			_, err := (&pool{Backend: b}).make(ctx, another, meta(m.Format, 2*mib), of(h.Image(m)))
			return err
		}))
	}
	trash := func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) }
	restore := func(h volume.Held, _ volume.Meta) error { return h.Restore(ctx) }
	purge := func(h volume.Held, _ volume.Meta) error { return h.Purge(ctx) }
	upload := func(h volume.Held, _ volume.Meta) error {
		f, err := h.Incoming()
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt(fresh, 0)
		return err
	}
	takeUpload := func(h volume.Held, m volume.Meta) error {
		n, err := h.Received()
		if err != nil || n == 0 {
			return err // it was replaced before
		}
		f, err := h.Incoming()
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = h.Replace(ctx, m, of(volume.Image{Path: f.Name(), Format: "raw", Size: n, Owned: true}))
		return err
	}
	iso := func(p *pool) {
		p.t.Helper()
		if err := p.iso(ctx, subject, of(oldImage)); err != nil {
			p.t.Fatal(err)
		}
	}
	raw, qcow2, rbd := has(volume.Raw, of(oldImage)), has(volume.QCOW2, of(oldImage)), has(volume.RBD, of(oldImage))
	small := then(raw, func(h volume.Held, m volume.Meta) error {
		_, err := h.Resize(ctx, m, int64(len(fresh)), true, volume.PreallocOff)
		return err
	})
	cloned := func(p *pool) {
		rbd(p)
		if err := clone(p.Backend); err != nil {
			p.t.Fatal(err)
		}
	}

	return []change{
		{name: "create", needs: volume.Raw, prepare: nothing, do: create(meta(volume.Raw, mib), empty)},
		{name: "create with room", needs: volume.Raw, prepare: nothing, do: create(meta(volume.Raw, mib), volume.Content{Prealloc: volume.PreallocFalloc})},
		{name: "create with zeros", needs: volume.Raw, prepare: nothing, do: create(meta(volume.Raw, mib), volume.Content{Prealloc: volume.PreallocFull})},
		{name: "create qcow2", needs: volume.QCOW2, prepare: nothing, do: create(meta(volume.QCOW2, mib), empty)},
		{name: "import", needs: volume.Raw, prepare: nothing, do: create(meta(volume.Raw, 2*mib), of(oldImage))},
		{name: "import into qcow2", needs: volume.QCOW2, prepare: nothing, do: create(meta(volume.QCOW2, 2*mib), of(oldImage))},
		{name: "import as overlay", needs: volume.QCOW2, prepare: nothing, do: create(meta(volume.QCOW2, mib), overlay)},
		{name: "clone", needs: volume.Raw, prepare: raw, do: clone},
		{name: "clone qcow2", needs: volume.QCOW2, prepare: qcow2, do: clone},
		{name: "clone overlay", needs: volume.QCOW2, prepare: has(volume.QCOW2, overlay), do: clone},
		{name: "set attributes", needs: volume.Raw, prepare: raw, do: under(func(h volume.Held, m volume.Meta) error {
			m.Name = "another name"
			return h.SetMeta(ctx, m)
		})},
		{name: "grow", needs: volume.Raw, prepare: raw, do: resize(2*mib, volume.PreallocOff)},
		{name: "grow with room", needs: volume.Raw, prepare: raw, do: resize(2*mib, volume.PreallocFalloc)},
		{name: "grow with zeros", needs: volume.Raw, prepare: raw, do: resize(4*mib, volume.PreallocFull)},
		{name: "shrink", either: true, needs: volume.Raw, prepare: raw, do: resize(mib/2, volume.PreallocOff)},
		{name: "grow qcow2", needs: volume.QCOW2, prepare: qcow2, do: resize(2*mib, volume.PreallocOff)},
		{name: "shrink qcow2", either: true, needs: volume.QCOW2, prepare: qcow2, do: resize(mib/2, volume.PreallocOff)},
		{name: "convert to qcow2", needs: volume.QCOW2, prepare: raw, do: convert(volume.QCOW2)},
		{name: "convert to raw", needs: volume.QCOW2, prepare: qcow2, do: convert(volume.Raw)},
		{name: "convert an overlay", needs: volume.QCOW2, prepare: has(volume.QCOW2, overlay), do: convert(volume.Raw)},
		{name: "compact", needs: volume.QCOW2, prepare: has(volume.QCOW2, overlay), do: under(func(h volume.Held, m volume.Meta) error {
			_, err := h.Compact(ctx, m, nil)
			return err
		})},
		{name: "replace", needs: volume.Raw, prepare: raw, do: replace(of(freshImage))},
		{name: "replace by an upload", needs: volume.Raw, prepare: then(small, upload), do: under(takeUpload)},
		{name: "replace by a smaller upload", needs: volume.Raw, prepare: then(raw, upload), do: under(takeUpload)},
		{name: "drop an upload", either: true, needs: volume.Raw, prepare: then(raw, upload), do: under(func(h volume.Held, _ volume.Meta) error { return h.DropIncoming() })},
		{name: "replace by an overlay", needs: volume.QCOW2, prepare: qcow2, do: replace(overlay)},
		{name: "replace an overlay", needs: volume.QCOW2, prepare: has(volume.QCOW2, overlay), do: replace(of(oldImage))},
		{name: "create with files", needs: volume.ISO, prepare: nothing, do: func(b volume.Backend) error {
			return done((&pool{Backend: b}).iso(ctx, subject, of(oldImage)))
		}},
		{name: "write a file", either: true, needs: volume.ISO, prepare: iso, do: under(func(h volume.Held, _ volume.Meta) error {
			return h.WriteFile(volume.SeedDir+"another", []byte("another"))
		})},
		{name: "replace a file", either: true, needs: volume.ISO, prepare: iso, do: under(func(h volume.Held, _ volume.Meta) error {
			return h.WriteFile(seedFile, []byte("new"))
		})},
		{name: "remove a file", either: true, needs: volume.ISO, prepare: iso, do: under(func(h volume.Held, _ volume.Meta) error { return h.RemoveFile(seedFile) })},
		{name: "trash", needs: volume.Raw, prepare: raw, do: under(trash)},
		{name: "restore", needs: volume.Raw, prepare: then(raw, trash), do: under(restore)},
		{name: "purge", needs: volume.Raw, prepare: raw, do: under(purge)},
		{name: "purge from the bin", needs: volume.Raw, prepare: then(raw, trash), do: under(purge)},
		{name: "purge an overlay", needs: volume.QCOW2, prepare: has(volume.QCOW2, overlay), do: under(purge)},
		{name: "create rbd", needs: volume.RBD, prepare: nothing, do: create(meta(volume.RBD, mib), empty)},
		{name: "create rbd with zeros", needs: volume.RBD, prepare: nothing, do: create(meta(volume.RBD, mib), volume.Content{Prealloc: volume.PreallocFull})},
		{name: "import into rbd", needs: volume.RBD, prepare: nothing, do: create(meta(volume.RBD, 2*mib), of(oldImage))},
		{name: "clone rbd", needs: volume.RBD, prepare: rbd, do: clone},
		{name: "grow rbd", needs: volume.RBD, prepare: rbd, do: resize(2*mib, volume.PreallocOff)},
		{name: "grow rbd with zeros", needs: volume.RBD, prepare: rbd, do: resize(4*mib, volume.PreallocFull)},
		{name: "shrink rbd", either: true, needs: volume.RBD, prepare: rbd, do: resize(mib/2, volume.PreallocOff)},
		{name: "convert raw to rbd", needs: volume.RBD, prepare: raw, do: convert(volume.RBD)},
		{name: "convert rbd to raw", needs: volume.RBD, prepare: rbd, do: convert(volume.Raw)},
		{name: "replace rbd", needs: volume.RBD, prepare: rbd, do: replace(of(freshImage))},
		{name: "replace rbd that has a clone", needs: volume.RBD, prepare: cloned, do: replace(of(freshImage))},
		{name: "trash rbd", needs: volume.RBD, prepare: rbd, do: under(trash)},
		{name: "restore rbd", needs: volume.RBD, prepare: then(rbd, trash), do: under(restore)},
		{name: "purge rbd", needs: volume.RBD, prepare: rbd, do: under(purge)},
		{name: "purge rbd that has a clone", needs: volume.RBD, prepare: cloned, do: under(purge)},
		{name: "purge rbd from the bin", needs: volume.RBD, prepare: then(rbd, trash), do: under(purge)},
	}
}

package volumetest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

// seedFile is a file beside an image.
const seedFile = volume.SeedDir + "user-data"

// iso makes an ISO volume of c with a file beside it.
func (p *pool) iso(ctx context.Context, id volume.ID, c volume.Content) error {
	s, err := p.Stage(ctx, id)
	if err != nil {
		return err
	}
	defer s.Discard()
	m := meta(volume.ISO, 0)
	m.ReadOnly = true
	if m, err = s.Fill(ctx, m, c); err != nil {
		return err
	}
	if err := s.WriteFile(volume.ISOInfoFile, []byte(`{"isotype":"tool"}`)); err != nil {
		return err
	}
	if err := s.WriteFile(seedFile, []byte("old")); err != nil {
		return err
	}
	return s.Commit(ctx, m)
}

// testBeside keeps files beside an image, across a restart and the bin, and lets the image come later.
func testBeside(t *testing.T, s suite) {
	p := s.pool(t)
	if !p.keeps(volume.ISO) {
		return
	}
	id := volume.NewID()
	if err := p.iso(t.Context(), id, empty); err != nil {
		t.Fatal(err)
	}
	if f := p.load(id); f.Meta.Size != 0 || f.ISOType != "tool" || f.Problem != nil {
		t.Errorf("an ISO volume without content is %+v", f)
	}
	wantFiles := func(p *pool, want map[string]string) {
		t.Helper()
		p.must(id, func(h volume.Held, _ volume.Meta) error {
			names, err := h.Files()
			if err != nil {
				return err
			}
			if len(names) != len(want) || !slices.IsSorted(names) {
				t.Errorf("files %q, want %v", names, want)
			}
			for name, content := range want {
				data, err := h.ReadFile(name)
				if err != nil || string(data) != content {
					t.Errorf("%s is %q, %v; want %q", name, data, err, content)
				}
			}
			return nil
		})
	}
	wantFiles(p, map[string]string{volume.ISOInfoFile: `{"isotype":"tool"}`, seedFile: "old"})
	p.must(id, func(h volume.Held, _ volume.Meta) error {
		for _, bad := range []string{"meta.json", "data.iso", ".lock", volume.SeedDir, volume.SeedDir + "a/b", volume.SeedDir + "..", "../x"} {
			if err := h.WriteFile(bad, nil); !fault.Is(err, fault.BadRequest) {
				t.Errorf("writing %q: %v", bad, err)
			}
			if _, err := h.ReadFile(bad); !fault.Is(err, fault.BadRequest) {
				t.Errorf("reading %q: %v", bad, err)
			}
		}
		if _, err := h.ReadFile(volume.SeedDir + "nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading what is not there: %v", err)
		}
		return errors.Join(
			h.WriteFile(seedFile, []byte("new")), h.WriteFile(volume.SeedDir+"more", bytes.Repeat([]byte("m"), 100000)),
			h.RemoveFile(volume.ISOInfoFile), h.RemoveFile(volume.ISOInfoFile),
		)
	})
	p = p.reopened()
	wantFiles(p, map[string]string{seedFile: "new", volume.SeedDir + "more": string(bytes.Repeat([]byte("m"), 100000))})

	image := pattern('i', mib)
	p.must(id, func(h volume.Held, m volume.Meta) error {
		m.Size = mib
		after, err := h.Replace(t.Context(), m, of(outside(t, image)))
		if err != nil {
			return err
		}
		return h.SetMeta(t.Context(), after)
	})
	p.want(id, image, mib)
	p.must(id, func(h volume.Held, m volume.Meta) error { // one that is smaller
		m.Size = 4096
		after, err := h.Replace(t.Context(), m, of(outside(t, image[:4096])))
		if err != nil {
			return err
		}
		return h.SetMeta(t.Context(), after)
	})
	p = p.reopened()
	p.want(id, image[:4096], 4096)
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Trash(t.Context(), when) })
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Restore(t.Context()) })
	wantFiles(p, map[string]string{seedFile: "new", volume.SeedDir + "more": string(bytes.Repeat([]byte("m"), 100000))})
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Purge(t.Context()) })
	p.wantNothing()
}

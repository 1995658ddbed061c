package volumetest

import (
	"errors"
	"io/fs"
	"testing"

	"elstore/volume"
)

// testRecords is about what exports keep beside the image.
func testRecords(t *testing.T, s suite) {
	ctx := t.Context()
	p := s.pool(t)
	id, _ := p.create(meta(volume.Raw, mib), empty)
	if _, err := p.Directory(volume.NewID()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of what is not there: %v", err)
	}
	d, err := p.Directory(id)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if f := p.scan()[id]; f.Records {
		t.Errorf("records before there are any: %+v", f)
	}
	if err := errors.Join(d.Mkdir(volume.RecordsDir, 0o700), d.WriteFile(volume.RecordsDir+"/a", []byte("kept"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if f := p.scan()[id]; !f.Records || f.Problem != nil {
		t.Errorf("Scan found %+v", f)
	}
	if f, err := p.Load(ctx, id); err != nil || !f.Records {
		t.Errorf("Load found %+v, %v", f, err)
	}
	for _, change := range []func(h volume.Held, m volume.Meta) error{
		func(h volume.Held, m volume.Meta) error { m.Name = "renamed"; return h.SetMeta(ctx, m) },
		func(h volume.Held, m volume.Meta) error {
			_, err := h.Resize(ctx, m, 2*mib, false, volume.PreallocOff)
			return err
		},
		func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) },
		func(h volume.Held, _ volume.Meta) error { return h.Restore(ctx) },
	} {
		p.must(id, change)
	}
	p.must(id, func(volume.Held, volume.Meta) error { // while somebody holds the volume too
		again, err := p.Directory(id)
		if err != nil {
			return err
		}
		defer again.Close()
		if data, err := again.ReadFile(volume.RecordsDir + "/a"); err != nil || string(data) != "kept" {
			t.Errorf("after changes the records have %q, %v", data, err)
		}
		return nil
	})
	p.must(id, func(h volume.Held, _ volume.Meta) error { return h.Trash(ctx, when) })
	if _, err := p.Directory(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of what lies in the bin: %v", err)
	}
}

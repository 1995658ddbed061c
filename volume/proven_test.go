package volume_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// others returns what somebody who is not the owner can try to do to a volume, with the error of each.
func others(ctx context.Context, s *volume.Service, id volume.ID, by volume.Who) map[string]error {
	_, get := s.Get(ctx, id, by)
	_, restore := s.Restore(ctx, id, by)
	_, clone := s.Clone(ctx, id, volume.CloneRequest{Creator: *by, Name: "c"}, nil)
	_, download := s.Download(ctx, id, by, "", nil)
	_, iso := s.OpenISO(ctx, id, by)
	return map[string]error{
		"get": get, "restore": restore, "clone": clone, "download": download, "open ISO": iso,
		"update":      s.Update(ctx, id, by, volume.Change{}),
		"transfer":    s.Transfer(ctx, id, by, *by),
		"resize":      s.Resize(ctx, id, by, volume.ResizeRequest{Size: 2 * mib}),
		"convert":     s.Convert(ctx, id, by, volume.QCOW2, nil),
		"compact":     s.Compact(ctx, id, by, nil),
		"drop upload": s.DropUpload(ctx, id, by),
		"edit":        s.Edit(ctx, id, by, "edit", func(context.Context, *volume.Edit) error { return nil }),
	}
}

// TestStrangersDontWait: whoever may not change a volume neither waits for its lock nor is told of it.
func TestStrangersDontWait(t *testing.T) {
	p := newPlace(t, `{}`)
	stranger := client(0xbb)
	for name, tt := range map[string]struct {
		private bool
		update  fault.Code
	}{
		"private": {true, fault.VolumeNotFound},
		"public":  {false, fault.NotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			n := wish("v", mib)
			n.Meta.Private = tt.private
			v, err := p.Volumes.Create(t.Context(), n, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = p.Volumes.Turn(t.Context(), v.ID, "long", func(ctx context.Context, _ *volume.Turn) error {
				want(t, p.Volumes.Update(ctx, v.ID, &stranger, volume.Change{}), tt.update)
				if !tt.private {
					return nil
				}
				for what, err := range others(ctx, p.Volumes, v.ID, &stranger) {
					if !fault.Is(err, fault.VolumeNotFound) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if err := p.Volumes.Destroy(ctx, v.ID, &stranger, true); err != nil {
					t.Errorf("destroy: %v", err)
				}
				return nil
			})
			if err != nil || !p.Volumes.Has(t.Context(), v.ID, nil) {
				t.Errorf("%v, or it is gone", err)
			}
		})
	}
}

// TestDamagedIsNobodys: what doesn't tell any more whose it is belongs to nobody who proved who he is.
func TestDamagedIsNobodys(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	binned := p.create("binned", mib)
	if err := p.Volumes.Destroy(t.Context(), binned.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.dir(v.ID)+"/meta.json", []byte(`{"creatorID"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Pools.Close(); err != nil {
		t.Fatal(err)
	}
	next := rig.Assemble(t, p.root, nil)
	stranger := client(0xbb)
	ctx := volume.Proven(t.Context())
	for what, err := range others(ctx, next.Volumes, v.ID, &stranger) {
		if !fault.Is(err, fault.VolumeNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if next.Volumes.Has(ctx, v.ID, &stranger) {
		t.Error("it is told of")
	}
	for _, purge := range []bool{false, true} {
		if err := next.Volumes.Destroy(ctx, v.ID, &stranger, purge); err != nil || !next.Volumes.Has(t.Context(), v.ID, nil) {
			t.Errorf("destroy, purge %t: %v, or it is gone", purge, err)
		}
	}
	// Where a name is the caller's word alone, and for whoever acts for everybody, there has to be a way to be rid of it.
	_, err := next.Volumes.Get(t.Context(), v.ID, &stranger)
	want(t, err, fault.VolumeDamaged)
	if err := next.Volumes.Destroy(ctx, v.ID, nil, true); err != nil || next.Volumes.Has(ctx, v.ID, nil) {
		t.Errorf("destroy: %v", err)
	}
}

// TestBecamePrivateMeanwhile: who waits for a volume's lock to read it is told what it is when the lock is free.
func TestBecamePrivateMeanwhile(t *testing.T) {
	p := newPlace(t, `{}`)
	for what, read := range map[string]func(id volume.ID) error{
		"download": func(id volume.ID) error { _, err := p.Volumes.Download(t.Context(), id, &bob, "", nil); return err },
		"open ISO": func(id volume.ID) error { _, err := p.Volumes.OpenISO(t.Context(), id, &bob); return err },
		"clone": func(id volume.ID) error {
			_, err := p.Volumes.Clone(t.Context(), id, volume.CloneRequest{Creator: bob, Name: "c"}, nil)
			return err
		},
	} {
		v := p.create("v", mib)
		// The disk says so before the index does, as when another server of a shared pool did it.
		file := p.dir(v.ID) + "/meta.json"
		meta, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		private := strings.Replace(string(meta), `"private": false`, `"private": true`, 1)
		if private == string(meta) {
			private = strings.Replace(string(meta), `"private":false`, `"private":true`, 1)
		}
		if private == string(meta) {
			t.Fatalf("%s", meta)
		}
		if err := os.WriteFile(file, []byte(private), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(v.ID); !fault.Is(err, fault.VolumeNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

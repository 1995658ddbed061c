package volume_test

import (
	"testing"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestWantTakes(t *testing.T) {
	for name, tt := range map[string]struct {
		want volume.Want
		pool string
		ok   bool
	}{
		"any":                         {volume.Want{}, "a", true},
		"the one":                     {volume.Want{Pool: "a"}, "a", true},
		"another":                     {volume.Want{Pool: "b"}, "a", false},
		"any of some":                 {volume.Want{Within: []string{"b", "a"}}, "a", true},
		"any of others":               {volume.Want{Within: []string{"b"}}, "a", false},
		"any of none":                 {volume.Want{Within: []string{}}, "a", false},
		"the one, which isn't of any": {volume.Want{Pool: "a", Within: []string{"b"}}, "a", false},
	} {
		if got := tt.want.Takes(tt.pool); got != tt.ok {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestWithin: on a limited context volumes of other pools are not there, by whatever way they are asked for.
func TestWithin(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "a", `{}`)
	rig.Pool(t, root, "b", `{}`)
	p := rig.Assemble(t, root, nil)
	owner, err := volume.ParseClient("ffffffffffffffffffffffffffffffff")
	if err != nil {
		t.Fatal(err)
	}
	create := func(pool string) volume.Volume {
		n := volume.NewVolume{Pool: pool, Meta: volume.Meta{Creator: owner, Name: "n", Size: 4096, Format: volume.Raw, Bus: volume.Virtio, Alg: volume.Copy, Clonable: true}}
		v, err := p.Volumes.Create(t.Context(), n, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	mine, other, binned := create("a"), create("b"), create("b")
	if err := p.Volumes.Destroy(t.Context(), binned.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	ctx := volume.Within(t.Context(), []string{"a"})
	for name, err := range map[string]error{
		"get":      func() error { _, err := p.Volumes.Get(ctx, other.ID, nil); return err }(),
		"resize":   p.Volumes.Resize(ctx, other.ID, nil, volume.ResizeRequest{Size: 8192}),
		"update":   p.Volumes.Update(ctx, other.ID, &owner, volume.Change{}),
		"transfer": p.Volumes.Transfer(ctx, other.ID, &owner, owner),
		"clone": func() error {
			_, err := p.Volumes.Clone(ctx, other.ID, volume.CloneRequest{Creator: owner, Name: "c"}, nil)
			return err
		}(),
		"download": func() error { _, err := p.Volumes.Download(ctx, other.ID, nil, "", nil); return err }(),
		"restore":  func() error { _, err := p.Volumes.Restore(ctx, binned.ID, nil); return err }(),
	} {
		if !fault.Is(err, fault.VolumeNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.Volumes.Destroy(ctx, other.ID, nil, true); err != nil || !p.Volumes.Has(t.Context(), other.ID, nil) || p.Volumes.Has(ctx, other.ID, nil) {
		t.Errorf("destroy: %v", err)
	}
	if n, err := p.Volumes.EmptyTrash(ctx, "", nil); n != 0 || err != nil || len(p.Volumes.Trashed(ctx, nil)) != 0 || len(p.Volumes.Trashed(t.Context(), nil)) != 1 {
		t.Errorf("the bin: %d, %v", n, err)
	}
	seen := 0
	for v, err := range p.Volumes.Accessible(ctx, owner, volume.Query{Limit: 5}) {
		if seen++; err != nil || v.ID != mine.ID {
			t.Errorf("%v, %v", v, err)
		}
	}
	if seen != 1 {
		t.Errorf("%d are listed", seen)
	}
	if pool, there := p.Volumes.PoolOf(binned.ID); !there || pool != "b" {
		t.Errorf("%s, %t", pool, there)
	}
	if _, there := p.Volumes.PoolOf(volume.NewID()); there {
		t.Error("a volume that never was has a pool")
	}
	if _, err := p.Volumes.Get(volume.Within(ctx, nil), other.ID, nil); err != nil {
		t.Errorf("with the limit lifted: %v", err)
	}
}

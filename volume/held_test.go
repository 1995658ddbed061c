package volume_test

import (
	"testing"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// What somebody holds keeps its size, format, owner and place; its name is its owner's still.
func TestHeld(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	var held volume.ID
	p := rig.Assemble(t, root, func(c *volume.Config) {
		c.Held = func(id volume.ID) error {
			if id == held {
				return fault.Errorf(fault.VolumeMigrating, "volume %s is held", id)
			}
			return nil
		}
	})
	owner, other := newClient(t), newClient(t)
	m := volume.Meta{Creator: owner, Name: "disk", Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20}
	v, err := p.Volumes.Create(t.Context(), volume.NewVolume{Meta: m}, nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := []func() error{
		func() error { return p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 2 << 20}) },
		func() error { return p.Volumes.Transfer(t.Context(), v.ID, nil, other) },
		func() error { return p.Volumes.Convert(t.Context(), v.ID, nil, volume.QCOW2, nil) },
		func() error { return p.Volumes.Destroy(t.Context(), v.ID, nil, true) },
	}
	held = v.ID
	for i, call := range calls {
		if err := call(); !fault.Is(err, fault.VolumeMigrating) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if now, err := p.Volumes.Get(t.Context(), v.ID, nil); err != nil || now.Meta.Size != m.Size || now.Meta.Creator != owner || now.Meta.Format != m.Format {
		t.Errorf("%+v, %v", now, err)
	}
	held = volume.ID{}
	for i, call := range calls {
		if i == 2 {
			continue // it needs qemu-img
		}
		if err := call(); err != nil {
			t.Errorf("call %d when nobody holds it: %v", i, err)
		}
	}
}

func newClient(t *testing.T) volume.Client {
	t.Helper()
	c, err := volume.ParseClient(volume.NewID().String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

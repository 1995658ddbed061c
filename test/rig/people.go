package rig

import (
	"testing"

	"elstore/volume"
)

// The clients that tests have.
var (
	Alice = Client("ffffffffffffffffffffffffffffffff")
	Bob   = Client("00000000000000000000000000000b0b")
)

// Client returns the client of an id, which is one.
func Client(id string) volume.Client {
	c, err := volume.ParseClient(id)
	if err != nil {
		panic(err)
	}
	return c
}

// Disk makes a volume of Alice's: raw, of 1 MiB, unless change says otherwise.
func (p *Parts) Disk(t testing.TB, change ...func(*volume.Meta)) volume.ID {
	t.Helper()
	m := volume.Meta{Creator: Alice, Name: "disk", Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20}
	for _, fn := range change {
		fn(&m)
	}
	v, err := p.Volumes.Create(t.Context(), volume.NewVolume{Meta: m}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

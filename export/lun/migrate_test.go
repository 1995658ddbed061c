package lun

import (
	"errors"
	"slices"
	"testing"

	"elstore/export"
	"elstore/test/rig"
	"elstore/volume"
)

// TestReservationsMoveToAnotherServer has what a machine reserved through one server be its own through another one, which had the volume open
// before that was reserved.
func TestReservationsMoveToAnotherServer(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{"shared": true}`)
	one, two := &server{t: t, root: root, id: volume.NewID().String(), shared: true}, &server{t: t, root: root, id: volume.NewID().String(), shared: true}
	one.start()
	two.start()
	id := one.create()
	if _, _, err := two.Volumes.Refresh(t.Context(), "pool"); err != nil {
		t.Fatal(err)
	}
	was := one.export(id, alice, first)
	source := one.login(first, was.Access.Target)
	p := export.Passing{
		Volume: id, Migration: volume.NewID().String(), Source: was.Record.ID, Destination: volume.NewID(), Client: bob, Initiator: second, Server: two.id,
	}
	ctx := t.Context()
	if err := errors.Join(one.exports.Admit(ctx, p), two.exports.Visit(ctx, id)); err != nil {
		t.Fatal(err)
	}
	there := two.login(second, export.Name(bob, id))
	if got := there.keys(); len(got) != 0 {
		t.Fatalf("the keys are %d", got)
	}
	source.run(register(1))
	source.run(reserve(1))
	err := errors.Join(
		one.exports.ShutGate(ctx, id, p.Source), one.exports.Pass(ctx, id, p.Migration, two.id),
		two.exports.Take(ctx, id), two.exports.Inherit(ctx, id, p.Source, p.Destination), two.exports.Inherit(ctx, id, p.Source, p.Destination),
		two.exports.Commit(ctx, id, p.Migration, p.Destination),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !two.exports.OpenGate(id, p.Destination, p.Migration) {
		t.Error("the gate does not open")
	}
	check := func(i *initiator) {
		t.Helper()
		if got := i.keys(); !slices.Equal(got, []byte{1}) {
			t.Errorf("the keys are %d", got)
		}
		if status, _ := i.run(write10(0, 1), make([]byte, 512)); status != 0 {
			t.Errorf("a write of the holder ends with status %d", status)
		}
	}
	check(there)
	if one.login(first, was.Access.Target) != nil {
		t.Error("the first server lets the source in")
	}
	two.restart()
	check(two.login(second, export.Name(bob, id)))
}

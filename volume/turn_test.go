package volume_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestTurn(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	ctx := t.Context()
	failed := errors.New("the record can't be written")
	err := p.Volumes.Turn(ctx, v.ID, "export", func(ctx context.Context, turn *volume.Turn) error {
		if got := turn.Volume(); got.ID != v.ID || got.Locked != "export" || got.Pool != "pool" {
			t.Errorf("%+v", got)
		}
		if _, err := turn.Open(ctx, volume.Claim{Export: "iscsi:a"}); err != nil {
			return err
		}
		_, err := turn.Open(ctx, volume.Claim{Export: "iscsi:b", Exclusive: true})
		want(t, err, fault.VolumeAlreadyExported)
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if got, _ := p.Volumes.Get(ctx, v.ID, nil); len(got.Exports) > 0 {
		t.Errorf("a turn that failed leaves the claims %v", got.Exports)
	}
	var o *volume.Opened
	err = p.Volumes.Turn(ctx, v.ID, "export", func(ctx context.Context, turn *volume.Turn) (err error) {
		d, err := turn.Directory()
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Mkdir(volume.RecordsDir, 0o700); err != nil {
			return err
		}
		o, err = turn.Open(ctx, volume.Claim{Export: "iscsi:a"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.WriteAt(make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	d, err := p.Volumes.Directory(ctx, v.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Stat(volume.RecordsDir); err != nil {
		t.Error(err)
	}
	p.create("w", mib)
	if got := p.Volumes.Recorded(); !slices.Equal(got, []volume.ID{v.ID}) {
		t.Errorf("recorded: %v", got)
	}
	want(t, p.Volumes.Turn(ctx, volume.NewID(), "export", nil), fault.VolumeNotFound)
	_, err = p.Volumes.Directory(ctx, volume.NewID())
	want(t, err, fault.VolumeNotFound)
}

func TestTurnsWaitForEachOther(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	err := p.Volumes.Turn(t.Context(), v.ID, "export", func(ctx context.Context, _ *volume.Turn) error {
		err := p.Volumes.Turn(ctx, v.ID, "unexport", nil)
		want(t, err, fault.VolumeAlreadyLocked)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestOpenedOfAPoolThatWentIsStale(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "iscsi:a"})
	defer o.Close()
	if o.Stale() {
		t.Error("stale from the beginning")
	}
	p.Volumes.RemovePool("pool")
	if !o.Stale() {
		t.Error("its pool is gone")
	}
}

// TestVisitAndTake reads beside the server that writes, and writes when that has let go: whoever reads notices nothing of it.
func TestVisitAndTake(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{"shared": true}`)
	one, two := rig.Assemble(t, root, nil), rig.Assemble(t, root, func(c *volume.Config) { c.LockWait = 50 * time.Millisecond })
	ctx := t.Context()
	v, err := one.Volumes.Create(ctx, volume.NewVolume{Meta: volume.Meta{
		Creator: rig.Alice, Name: "v", Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20,
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.Volumes.Refresh(ctx, "pool"); err != nil {
		t.Fatal(err)
	}
	writer, err := one.Volumes.Open(ctx, v.ID, volume.Claim{Export: "one"})
	if err != nil {
		t.Fatal(err)
	}
	var reader *volume.Opened
	err = two.Volumes.Visit(ctx, v.ID, func(ctx context.Context, turn *volume.Turn) (err error) {
		if !turn.Visits() {
			t.Error("it is no visit")
		}
		reader, err = turn.Open(ctx, volume.Claim{Export: "two"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p, got := bytes.Repeat([]byte{7}, 4096), make([]byte, 4096)
	see := func(d volume.Device) {
		t.Helper()
		if _, err := d.ReadAt(got, 8192); err != nil || !bytes.Equal(got, p) {
			t.Errorf("what was written is not read: %v", err)
		}
	}
	if _, err := writer.WriteAt(p, 8192); err != nil {
		t.Fatal(err)
	}
	see(reader)
	if _, err := reader.WriteAt(p, 0); err == nil {
		t.Error("it writes without the lock")
	}
	take := func(ctx context.Context, turn *volume.Turn) error { return turn.Take(ctx) }
	want(t, two.Volumes.Turn(ctx, v.ID, "migrate", take), fault.VolumeAlreadyLocked)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = two.Volumes.Open(ctx, v.ID, volume.Claim{Export: "three"})
	want(t, err, fault.VolumeAlreadyExported)
	if err := two.Volumes.Turn(ctx, v.ID, "migrate", take); err != nil {
		t.Fatal(err)
	}
	p[0] = 8
	if _, err := reader.WriteAt(p, 8192); err != nil {
		t.Errorf("it does not write with the lock: %v", err)
	}
	see(reader)
	_, err = one.Volumes.Open(ctx, v.ID, volume.Claim{Export: "one"})
	want(t, err, fault.VolumeAlreadyLocked)
}

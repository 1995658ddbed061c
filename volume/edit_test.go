package volume_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"elstore/iso"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

const seedFile = volume.SeedDir + "user-data"

// isoVolume makes an ISO volume without content, of alice's.
func (p *place) isoVolume(change func(*volume.NewVolume)) volume.Volume {
	p.t.Helper()
	n := wish("install", 0)
	n.Meta.Format, n.Meta.ReadOnly = volume.ISO, true
	n.Files = map[string][]byte{volume.ISOInfoFile: []byte(`{"isotype":"os_generic"}`), seedFile: []byte("#cloud-config\n")}
	if change != nil {
		change(&n)
	}
	v, err := p.Volumes.Create(p.t.Context(), n, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// image returns an ISO 9660 image that holds text.
func image(t *testing.T, text string) []byte {
	t.Helper()
	data, err := iso.Build(iso.Config{Label: "TEST", Files: map[string][]byte{"file": []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (p *place) edit(id volume.ID, by volume.Who, fn func(e *volume.Edit) error) error {
	return p.Volumes.Edit(p.t.Context(), id, by, "edit", func(_ context.Context, e *volume.Edit) error { return fn(e) })
}

// read returns the image of an ISO volume.
func (p *place) read(id volume.ID) []byte {
	p.t.Helper()
	c, err := p.Volumes.OpenISO(p.t.Context(), id, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	data, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size))
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func TestEditFiles(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.isoVolume(nil)
	err := p.edit(v.ID, &alice, func(e *volume.Edit) error {
		if got := e.Volume(); got.ID != v.ID || got.Meta.Name != "install" || got.Locked == "" {
			t.Errorf("%+v", got)
		}
		names, err := e.Files()
		if want := []string{seedFile, volume.ISOInfoFile}; err != nil || !slices.Equal(names, want) {
			t.Errorf("files %q, %v; want %q", names, err, want)
		}
		if _, err := e.ReadFile(volume.SeedDir + "meta-data"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there: %v", err)
		}
		want(t, e.WriteFile("../escape", nil), fault.BadRequest)
		return errors.Join(
			e.Room(mib), e.WriteFile(volume.SeedDir+"meta-data", []byte("instance-id: 1\n")),
			e.RemoveFile(seedFile), e.RemoveFile(seedFile), e.Unused("it can't be tried"),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = p.edit(v.ID, nil, func(e *volume.Edit) error {
		data, err := e.ReadFile(volume.SeedDir + "meta-data")
		if string(data) != "instance-id: 1\n" {
			t.Errorf("it holds %q", data)
		}
		if _, err := e.ReadFile(seedFile); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was removed: %v", err)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEditIsRefused(t *testing.T) {
	p := newPlace(t, `{}`)
	v, deleted := p.isoVolume(nil), p.isoVolume(nil)
	disk := p.create("disk", mib)
	if err := p.Volumes.Destroy(t.Context(), deleted.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	never := func(*volume.Edit) error {
		t.Error("it was edited all the same")
		return nil
	}
	want(t, p.edit(deleted.ID, nil, never), fault.VolumeInTrash)
	want(t, p.edit(volume.NewID(), nil, never), fault.VolumeNotFound)
	if err := p.edit(v.ID, &bob, never); err == nil {
		t.Error("by who does not own it")
	}
	mine := errors.New("mine")
	if err := p.edit(v.ID, nil, func(*volume.Edit) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("the error is %v, want what was returned", err)
	}
	want(t, p.edit(disk.ID, nil, func(e *volume.Edit) error { return e.SetImage(image(t, "x")) }), fault.VolumeFormatNotAllowed)
	if err := p.edit(v.ID, nil, func(e *volume.Edit) error { return e.Room(1 << 60) }); fault.KindOf(err) != fault.NoSpace {
		t.Errorf("more than any disk has room for: %v", err)
	}
}

func TestSetImage(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.isoVolume(nil)
	first, second := image(t, "first"), image(t, string(noise(100_000)))
	for _, data := range [][]byte{first, second, first} {
		before := p.Events.Revision()
		if err := p.edit(v.ID, nil, func(e *volume.Edit) error { return e.SetImage(data) }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.read(v.ID), data) {
			t.Error("the image is another one")
		}
		if got, err := p.Volumes.Get(t.Context(), v.ID, nil); err != nil || got.Meta.Size != int64(len(data)) {
			t.Errorf("it has %d bytes, want %d; %v", got.Meta.Size, len(data), err)
		}
		if n, used := p.used(); n != 1 || used != int64(len(data)) {
			t.Errorf("in use are %d volumes of %d bytes", n, used)
		}
		if p.Events.Revision() == before {
			t.Error("nobody is told")
		}
	}
	o := p.open(v.ID, volume.Claim{Export: "reader", ReadOnly: true})
	want(t, p.edit(v.ID, nil, func(e *volume.Edit) error { return e.SetImage(second) }), fault.VolumeInUse)
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := p.Volumes.Edit(ctx, v.ID, nil, "edit", func(_ context.Context, e *volume.Edit) error {
		cancel(gone)
		return e.SetImage(second)
	})
	if !errors.Is(err, gone) && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if !bytes.Equal(p.read(v.ID), first) {
		t.Error("what was refused or cancelled changed the image")
	}
	if n, err := p.Volumes.Uploaded(t.Context(), v.ID, nil); n != 0 || err != nil {
		t.Errorf("%d bytes of what was cancelled are kept, %v", n, err)
	}
}

func TestSetImageWithoutRoom(t *testing.T) {
	p := newPlace(t, `{"max-total-size": "1M"}`)
	v := p.isoVolume(nil)
	if err := p.edit(v.ID, nil, func(e *volume.Edit) error { return e.SetImage(image(t, string(noise(2*mib)))) }); fault.KindOf(err) != fault.NoSpace {
		t.Errorf("more than the pool may hold: %v", err)
	}
	if got, err := p.Volumes.Get(t.Context(), v.ID, nil); err != nil || got.Meta.Size != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if n, _ := p.Volumes.Uploaded(t.Context(), v.ID, nil); n != 0 {
		t.Errorf("%d bytes of it are kept", n)
	}
}

func TestOpenISO(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.isoVolume(func(n *volume.NewVolume) { n.Meta.Private = true })
	old, fresh := image(t, "old"), image(t, "new")
	set := func(data []byte) {
		t.Helper()
		if err := p.edit(v.ID, nil, func(e *volume.Edit) error { return e.SetImage(data) }); err != nil {
			t.Fatal(err)
		}
	}
	set(old)
	_, err := p.Volumes.OpenISO(t.Context(), v.ID, &bob)
	want(t, err, fault.VolumeNotFound)
	_, err = p.Volumes.OpenISO(t.Context(), p.create("disk", mib).ID, nil)
	want(t, err, fault.VolumeFormatNotAllowed)

	c, err := p.Volumes.OpenISO(t.Context(), v.ID, &alice)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Size != int64(len(old)) || c.Volume.ID != v.ID || c.Tag.IsZero() {
		t.Errorf("%+v", c)
	}
	set(fresh)
	got := make([]byte, len(old))
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, old) {
		t.Errorf("what is being read changed, %v", err)
	}
	// A pool that goes waits for no reader.
	c2, err := p.Volumes.OpenISO(t.Context(), v.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Volumes.RemovePool("pool")
	for start := time.Now(); ; runtime.Gosched() {
		if _, err := c2.ReadAt(got[:1], 0); errors.Is(err, os.ErrClosed) {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatal("it can be read a minute after its pool is gone")
		}
	}
	if err := c2.Close(); err == nil {
		t.Error("it was not closed")
	}
}

// What a client uploads into an ISO volume makes it whole, once.
func TestUploadISO(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.isoVolume(nil)
	data := image(t, string(noise(50_000)))
	send := func(off, end int, of []byte, sum *volume.Checksum) (int64, bool, error) {
		return p.Volumes.Upload(t.Context(), v.ID, nil, volume.Part{
			Offset: int64(off), Length: int64(end - off), Total: int64(len(of)), Body: bytes.NewReader(of[off:end]), Checksum: sum,
		}, nil)
	}
	nonsense := noise(100_000)
	sum := sha256.Sum256(nonsense)
	_, complete, err := send(0, len(nonsense), nonsense, nil)
	if want(t, err, fault.ImageRefused); complete {
		t.Error("what is no image is said to be complete")
	}
	_, complete, err = send(0, len(data), data, &volume.Checksum{Algorithm: "sha256", Sum: sum[:]})
	if want(t, err, fault.ChecksumMismatch); complete {
		t.Error("what has another sum is said to be complete")
	}
	for _, bad := range []string{"nonsense", "another sum"} {
		if n, err := p.Volumes.Uploaded(t.Context(), v.ID, nil); n != 0 || err != nil {
			t.Errorf("%s: %d bytes are kept, %v", bad, n, err)
		}
	}
	if n, complete, err := send(0, 1000, data, nil); n != 1000 || complete || err != nil {
		t.Fatalf("%d, %t, %v", n, complete, err)
	}
	if n, complete, err := send(1000, len(data), data, nil); n != int64(len(data)) || !complete || err != nil {
		t.Fatalf("%d, %t, %v", n, complete, err)
	}
	if !bytes.Equal(p.read(v.ID), data) {
		t.Error("the image is another one")
	}
	got, err := p.Volumes.Get(t.Context(), v.ID, nil)
	if err != nil || got.Meta.Size != int64(len(data)) || !got.Meta.ReadOnly {
		t.Errorf("%+v, %v", got, err)
	}
	_, _, err = send(0, len(data), data, nil) // it has content now
	want(t, err, fault.VolumeReadOnly)

	// One whose content is no image, as a crash of somebody else's tool leaves it, waits for another.
	if err := os.WriteFile(filepath.Join(p.dir(v.ID), "data.iso"), nonsense, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, complete, err := send(0, len(data), data, nil); !complete || err != nil {
		t.Errorf("in place of what is no image: %t, %v", complete, err)
	}
}

// A server without eyes for ISO images takes none in.
func TestUploadISOWithoutAnInspector(t *testing.T) {
	p := &place{t: t, root: t.TempDir()}
	p.pool = rig.Pool(t, p.root, "pool", `{}`)
	p.Parts = rig.Assemble(t, p.root, func(c *volume.Config) { c.ISO = nil })
	v := p.isoVolume(nil)
	_, _, err := p.Volumes.Upload(t.Context(), v.ID, nil, volume.Part{Length: 1, Total: 1, Body: bytes.NewReader([]byte{1})}, nil)
	want(t, err, fault.VolumeReadOnly)
}

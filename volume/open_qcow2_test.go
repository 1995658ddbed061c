package volume_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// newPlaceOf makes a place on a file system of the kind.
func newPlaceOf(t *testing.T, kind string) *place {
	t.Helper()
	need.Root(t)
	p := &place{t: t, root: need.FS(t, kind)}
	p.pool = rig.Pool(t, p.root, "pool", `{}`)
	p.Parts = rig.Assemble(t, p.root, nil)
	t.Cleanup(func() { // before the file system is unmounted
		if err := errors.Join(p.Volumes.Close(), p.Pools.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// createQCOW2 makes a volume in qcow2 format.
func (p *place) createQCOW2(size int64) volume.Volume {
	p.t.Helper()
	need.Program(p.t, "qemu-img", "qemu-storage-daemon")
	n := wish("v", size)
	n.Meta.Format = volume.QCOW2
	v, err := p.Volumes.Create(p.t.Context(), n, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func TestQCOW2IsUsed(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.createQCOW2(4 * mib)
	o := p.open(v.ID, volume.Claim{Export: "one"})
	data := noise(mib)
	if _, err := o.WriteAt(data, mib); err != nil {
		t.Fatal(err)
	}
	want(t, p.Volumes.Convert(t.Context(), v.ID, nil, volume.Raw, nil), fault.VolumeInUse)
	want(t, p.Volumes.Destroy(t.Context(), v.ID, nil, false), fault.VolumeCannotBeDeleted)
	want(t, p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: mib, Shrink: true}), fault.VolumeInUse)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = p.open(v.ID, volume.Claim{Export: "two", Exclusive: true})
	got := make([]byte, mib)
	if _, err := o.ReadAt(got, mib); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what was written is not there: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Volumes.Convert(t.Context(), v.ID, nil, volume.Raw, nil); err != nil {
		t.Error(err)
	}
}

func TestQCOW2GrowsWhileInUse(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.createQCOW2(mib)
	var told []int64
	o := p.open(v.ID, volume.Claim{Export: "one", Resized: func(size int64) { told = append(told, size) }})
	data := noise(mib)
	if _, err := o.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	inUse(t, o, func() {
		for size := int64(2 * mib); size <= 8*mib; size += mib {
			if err := p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: size}); err != nil {
				t.Fatal(err)
			}
			if o.Size() != size || len(told) != int(size/mib)-1 || told[len(told)-1] != size {
				t.Errorf("size %d, told %v", o.Size(), told)
			}
		}
	})
	if _, err := o.WriteAt(data, 7*mib); err != nil {
		t.Error(err)
	}
	// What a daemon can't do is refused, and changes nothing.
	err := p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 9 * mib, Prealloc: volume.PreallocFull})
	want(t, err, fault.VolumeInUse)
	if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); got.Meta.Size != 8*mib || got.Problem != nil || o.Size() != 8*mib {
		t.Errorf("after a refusal: %+v, Device %d", got, o.Size())
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if got := p.content(v.ID); len(got) != 8*mib || !bytes.Equal(got[7*mib:], data) {
		t.Errorf("the image has %d bytes, or others", len(got))
	}
}

// A clone of a volume in use is its content of one moment, and a sound image.
func TestQCOW2CloneWhileInUse(t *testing.T) {
	p := newPlaceOf(t, "xfs")
	v := p.createQCOW2(4 * mib)
	o := p.open(v.ID, volume.Claim{Export: "writer"})
	inUse(t, o, func() {
		for range 10 {
			c, err := p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: alice, Name: "c"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			image := filepath.Join(p.pool, "vid."+c.ID.String()+".elimg", "data.qcow2")
			if out, err := exec.CommandContext(t.Context(), "qemu-img", "check", "-f", "qcow2", image).CombinedOutput(); err != nil {
				t.Fatalf("the clone is not sound: %v: %s", err, out)
			}
			data := p.content(c.ID)
			first, last := int(data[0]), int(data[len(data)-512])
			if first != last && first != last+1 && (first != 21 || last != 250) {
				t.Errorf("not one moment: the first sector has %d and the last %d", first, last)
			}
			if err := p.Volumes.Destroy(t.Context(), c.ID, nil, true); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

// What a Device can do beyond the least goes through a claim; where it can't, the least does.
func TestClaimOffersMore(t *testing.T) {
	p := newPlace(t, `{}`)
	for name, v := range map[string]volume.Volume{
		"raw":   p.create("v", 4*mib),
		"qcow2": p.createQCOW2(4 * mib),
	} {
		o := p.open(v.ID, volume.Claim{Export: "one"})
		data := noise(128 << 10)
		if n, err := volume.VectorWriter(o).WriteVectorAt([][]byte{data[:512], nil, data[512:]}, mib); err != nil || n != len(data) {
			t.Errorf("%s: wrote %d bytes, %v", name, n, err)
		}
		got := make([]byte, len(data))
		if _, err := o.ReadAt(got, mib); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: what was written is not there: %v", name, err)
		}
		if n, err := o.WriteVectorAt([][]byte{data, data}, 4*mib-int64(len(data))); err == nil {
			t.Errorf("%s: wrote %d bytes past the end", name, n)
		}
		if length, mapped, err := volume.ExtentReader(o).NextExtent(t.Context(), mib); err != nil || !mapped || length < int64(len(data)) {
			t.Errorf("%s: %d bytes, mapped %t, %v", name, length, mapped, err)
		}
		if length, mapped, err := o.NextExtent(t.Context(), 2*mib); err != nil || mapped || length != 2*mib {
			t.Errorf("%s: %d bytes, mapped %t, %v", name, length, mapped, err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

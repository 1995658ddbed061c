package volume_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/file"
)

func (p *place) open(id volume.ID, c volume.Claim) *volume.Opened {
	p.t.Helper()
	o, err := p.Volumes.Open(p.t.Context(), id, c)
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

func TestClaims(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	one := p.open(v.ID, volume.Claim{Export: "one"})
	two := p.open(v.ID, volume.Claim{Export: "two", ReadOnly: true})
	if _, err := p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "three", Exclusive: true}); !fault.Is(err, fault.VolumeAlreadyExported) {
		t.Errorf("exclusive beside others: %v", err)
	}
	if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); len(got.Exports) != 2 || got.Exports[0] != "one" {
		t.Errorf("exports %v", got.Exports)
	}
	if _, err := one.WriteAt([]byte("hello"), 512); err != nil {
		t.Fatal(err)
	}
	read := make([]byte, 5)
	if _, err := two.ReadAt(read, 512); err != nil || string(read) != "hello" {
		t.Errorf("%q, %v", read, err)
	}
	if _, err := one.WriteAt(make([]byte, 1024), mib-512); err == nil {
		t.Error("a write past the end")
	}
	no := true
	want(t, p.Volumes.Destroy(t.Context(), v.ID, nil, false), fault.VolumeCannotBeDeleted)
	want(t, p.Volumes.Convert(t.Context(), v.ID, nil, volume.QCOW2, nil), fault.VolumeInUse)
	want(t, p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{ReadOnly: &no}), fault.VolumeInUse)
	want(t, p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 512, Shrink: true}), fault.VolumeInUse)
	_, _, err := p.Volumes.Upload(t.Context(), v.ID, nil, volume.Part{Body: bytes.NewReader(nil)}, nil)
	want(t, err, fault.VolumeInUse)
	for _, o := range []*volume.Opened{one, two, one} {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	alone := p.open(v.ID, volume.Claim{Export: "alone", Exclusive: true})
	if _, err := p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "late"}); !fault.Is(err, fault.VolumeAlreadyExported) {
		t.Errorf("beside an exclusive one: %v", err)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Volumes.Destroy(t.Context(), v.ID, nil, false); err != nil {
		t.Error(err)
	}
	_, err = p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "of the bin"})
	want(t, err, fault.VolumeInTrash)
}

func TestReadOnlyVolumeIsOpenedSo(t *testing.T) {
	p := newPlace(t, `{}`)
	n := wish("v", mib)
	n.Meta.ReadOnly = true
	v, err := p.Volumes.Create(t.Context(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "writer"})
	want(t, err, fault.VolumeReadOnly)
	o := p.open(v.ID, volume.Claim{Export: "reader", ReadOnly: true})
	if _, err := o.WriteAt(make([]byte, 512), 0); err == nil {
		t.Error("a write to a read-only volume")
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestGrowsWhileInUse(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	var told []int64
	o := p.open(v.ID, volume.Claim{Export: "one", Resized: func(size int64) { told = append(told, size) }})
	defer o.Close()
	if err := p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 2 * mib}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != 2*mib || o.Size() != 2*mib {
		t.Errorf("told %v, size %d", told, o.Size())
	}
	if _, err := o.WriteAt(noise(512), 2*mib-512); err != nil {
		t.Error(err)
	}
}

// inUse runs fn while another goroutine writes the same number into the first and the last sector of a volume, one write after the
// other, so that a copy of one moment has numbers that differ by one at most.
func inUse(t *testing.T, o *volume.Opened, fn func()) {
	t.Helper()
	stop := make(chan struct{})
	started := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := byte(0); ; n++ {
			sector := bytes.Repeat([]byte{n}, 512)
			for _, off := range []int64{0, o.Size() - 512} {
				if _, err := o.WriteAt(sector, off); err != nil {
					t.Error(err)
					return
				}
			}
			if n == 10 {
				close(started)
			}
			select {
			case <-stop:
				return
			default:
				if n == 250 {
					n = 20
				}
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	<-started
	fn()
}

func TestCloneAndDownloadWhileInUse(t *testing.T) {
	need.Root(t)
	p := &place{t: t, root: need.FS(t, "xfs")}
	p.pool = rig.Pool(t, p.root, "pool", `{}`)
	p.Parts = rig.Assemble(t, p.root, nil)
	v := p.create("v", 4*mib)
	o := p.open(v.ID, volume.Claim{Export: "writer"})
	moment := func(data []byte) {
		t.Helper()
		first, last := int(data[0]), int(data[len(data)-512])
		if first != last && first != last+1 && (first != 21 || last != 250) {
			t.Errorf("not one moment: the first sector has %d and the last %d", first, last)
		}
		for i := range 512 {
			if data[i] != data[0] || data[len(data)-512+i] != data[len(data)-512] {
				t.Fatal("a torn sector")
			}
		}
	}
	inUse(t, o, func() {
		for range 20 {
			c, err := p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: alice, Name: "c"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			moment(p.content(c.ID))
			moment(p.content(v.ID))
			if err := p.Volumes.Destroy(t.Context(), c.ID, nil, true); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(p.Volumes.Close(), p.Pools.Close()); err != nil {
		t.Error(err)
	}
}

func TestCloneWhileInUseWithoutReflink(t *testing.T) {
	need.Root(t)
	p := &place{t: t, root: need.FS(t, "ext4")}
	p.pool = rig.Pool(t, p.root, "pool", `{}`)
	p.Parts = rig.Assemble(t, p.root, nil)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "writer"})
	defer o.Close()
	_, err := p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: alice, Name: "c"}, nil)
	want(t, err, fault.NoReflink)
	_, err = p.Volumes.Download(t.Context(), v.ID, nil, "", nil)
	want(t, err, fault.NoReflink)
	if left, err := os.ReadDir(p.pool); err != nil || len(left) > 5 {
		t.Errorf("%v, %v", left, err)
	}
}

// What is added lies behind all requests, so they need not wait while it is written, which may take long.
func TestRequestsGoOnWhileTheVolumeGrows(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "one"})
	defer o.Close()
	grown := make(chan error, 1)
	go func() {
		grown <- p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 128 * mib, Prealloc: volume.PreallocFull})
	}()
	for {
		info, err := os.Stat(filepath.Join(p.dir(v.ID), "data.img"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > mib {
			break
		}
		runtime.Gosched()
	}
	if _, err := o.WriteAt(noise(512), 0); err != nil {
		t.Error(err)
	}
	select {
	case err := <-grown:
		t.Errorf("a write waited until the volume had grown: %v", err)
	default:
	}
	if err := <-grown; err != nil || o.Size() != 128*mib {
		t.Errorf("size %d, %v", o.Size(), err)
	}
}

func TestDeviceOfAPoolThatWentAndCameBackIsClosed(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "one"})
	at, ok := p.Pools.Get("pool")
	if !ok {
		t.Fatal("no pool")
	}
	p.Volumes.RemovePool("pool")
	b, err := file.Open(t.Context(), file.Config{Dir: p.pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := p.Volumes.AddPool(t.Context(), at, b); err != nil {
		t.Fatal(err)
	}
	name := "renamed"
	want(t, p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Name: &name}), fault.VolumeAlreadyLocked)
	if err := errors.Join(o.Close(), o.Close()); err != nil {
		t.Error(err)
	}
	if err := p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Name: &name}); err != nil {
		t.Errorf("when nothing uses it any more: %v", err)
	}
}

// TestAClaimPassesOnWhatNeedsNoWaiting: the target asks the claim, and finds there what the image's Device can do.
func TestAClaimPassesOnWhatNeedsNoWaiting(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "one"})
	defer o.Close()
	want := noise(4096)
	if _, err := o.WriteAt(want, 8192); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if o.ReadNow(got, 8192) && !bytes.Equal(got, want) {
		t.Error("it read something else")
	}
	if o.ReadNow(got, mib) {
		t.Error("it read past the end")
	}
	if !o.WritesNow(4096) || o.WritesNow(1<<30) {
		t.Error("writes are not what the image's Device says")
	}
}

package volume_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

const mib = 1 << 20

var alice, bob = client(1), client(2)

func client(n int) volume.Client {
	c, err := volume.ParseClient(fmt.Sprintf("%032x", n))
	if err != nil {
		panic(err)
	}
	return c
}

// place is a root with one pool, and a Service on it.
type place struct {
	*rig.Parts
	t          *testing.T
	root, pool string
}

func newPlace(t *testing.T, settings string) *place {
	t.Helper()
	p := &place{t: t, root: t.TempDir()}
	p.pool = rig.Pool(t, p.root, "pool", settings)
	p.Parts = rig.Assemble(t, p.root, func(c *volume.Config) { c.LockWait = 200 * time.Millisecond })
	return p
}

func wish(name string, size int64) volume.NewVolume {
	return volume.NewVolume{Meta: volume.Meta{
		Creator: alice, Name: name, Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: size,
	}}
}

func (p *place) create(name string, size int64) volume.Volume {
	p.t.Helper()
	v, err := p.Volumes.Create(p.t.Context(), wish(name, size), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// used returns what counts against the pool's limits.
func (p *place) used() (volumes, bytes int64) {
	info := p.Pools.Infos()[0]
	return info.Used.Volumes, info.Used.Bytes
}

// accessible returns how many volumes alice's list has.
func (p *place) accessible() (n int) {
	p.t.Helper()
	for _, err := range p.Volumes.Accessible(p.t.Context(), alice, volume.Query{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		n++
	}
	return n
}

func (p *place) dir(id volume.ID) string { return filepath.Join(p.pool, "vid."+id.String()+".elimg") }

func want(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestCreateAndGet(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 3, "max-volume-size": "1G", "max-total-size": "2G"}`)
	before := p.Events.Revision()
	v := p.create("first", 512*mib)
	if v.Meta.Size != 512*mib || v.Pool != "pool" || !v.Available || v.Locked != "" || v.LastUpdated.IsZero() || v.OnDisk > mib {
		t.Errorf("%+v", v)
	}
	if p.Events.Revision() == before {
		t.Error("no new revision")
	}
	if info, err := os.Stat(filepath.Join(p.dir(v.ID), "data.img")); err != nil || info.Size() != 512*mib {
		t.Errorf("%v, %v", info, err)
	}
	data, err := os.ReadFile(filepath.Join(p.dir(v.ID), "meta.json"))
	if err != nil || !json.Valid(data) {
		t.Errorf("%s, %v", data, err)
	}
	if n, b := p.used(); n != 1 || b != 512*mib {
		t.Errorf("used %d, %d", n, b)
	}
	again, err := p.Volumes.Create(t.Context(), func() volume.NewVolume { n := wish("first", 512*mib); n.ID = v.ID; return n }(), nil)
	if err != nil || again.ID != v.ID {
		t.Errorf("the same id again: %v, %v", again.ID, err)
	}
	stranger := wish("first", mib)
	stranger.ID, stranger.Meta.Creator = v.ID, bob
	_, err = p.Volumes.Create(t.Context(), stranger, nil)
	want(t, err, fault.VolumeExists)
	_, err = p.Volumes.Get(t.Context(), volume.NewID(), nil)
	want(t, err, fault.VolumeNotFound)
}

func TestCreateRefuses(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 2, "max-volume-size": "1G", "max-total-size": "1500M"}`)
	tests := map[string]struct {
		change func(*volume.NewVolume)
		code   fault.Code
	}{
		"no size":                {func(n *volume.NewVolume) { n.Meta.Size = 0 }, fault.BadRequest},
		"negative":               {func(n *volume.NewVolume) { n.Meta.Size = -512 }, fault.BadRequest},
		"half a sector":          {func(n *volume.NewVolume) { n.Meta.Size = 700 }, fault.BadRequest},
		"too large for any":      {func(n *volume.NewVolume) { n.Meta.Size = 1 << 60 }, fault.BadRequest},
		"too large for the pool": {func(n *volume.NewVolume) { n.Meta.Size = 2048 * mib }, fault.VolumeNotAllocable},
		"no name":                {func(n *volume.NewVolume) { n.Meta.Name = "" }, fault.BadRequest},
		"bootable and shareable": {func(n *volume.NewVolume) { n.Meta.Bootable, n.Meta.Shareable = true, true }, fault.BadRequest},
		"iso":                    {func(n *volume.NewVolume) { n.Meta.Format = volume.ISO }, fault.VolumeFormatNotAllowed},
		"rbd in a file pool":     {func(n *volume.NewVolume) { n.Meta.Format = volume.RBD }, fault.VolumeNotAllocable},
		"unknown pool":           {func(n *volume.NewVolume) { n.Pool = "nowhere" }, fault.PoolNotFound},
		"more than the disk has": {func(n *volume.NewVolume) { n.Meta.Size, n.Prealloc = 1<<49, volume.PreallocFull }, fault.VolumeNotAllocable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := wish("x", mib)
			tt.change(&n)
			_, err := p.Volumes.Create(t.Context(), n, nil)
			want(t, err, tt.code)
			if n, b := p.used(); n != 0 || b != 0 {
				t.Errorf("used %d, %d", n, b)
			}
			if entries, _ := filepath.Glob(filepath.Join(p.pool, "*vid*")); len(entries) != 0 {
				t.Errorf("left: %v", entries)
			}
		})
	}
}

func TestCreateRacesForTheLastRoom(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 10}`)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, full := 0, 0
	for i := range 40 {
		wg.Go(func() {
			_, err := p.Volumes.Create(t.Context(), wish(fmt.Sprint("v", i), mib), nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if fault.KindOf(err) == fault.NoSpace {
				full++
			} else {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 10 || full != 30 {
		t.Errorf("%d made, %d refused", made, full)
	}
	if dirs, _ := filepath.Glob(filepath.Join(p.pool, "vid.*")); len(dirs) != 10 {
		t.Errorf("%d directories", len(dirs))
	}
}

func TestCreateManyIsAllOrNothing(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 3}`)
	list := []volume.NewVolume{wish("a", mib), wish("b", 2*mib), wish("c", 3*mib), wish("d", mib)}
	_, err := p.Volumes.CreateMany(t.Context(), list)
	want(t, err, fault.VolumeNotAllocable)
	if n, _ := p.used(); n != 0 {
		t.Errorf("%d volumes of a set that was refused", n)
	}
	made, err := p.Volumes.CreateMany(t.Context(), list[:3])
	if err != nil || len(made) != 3 || made[0].Meta.Name != "a" || made[2].Meta.Size != 3*mib {
		t.Fatalf("%+v, %v", made, err)
	}
	again := list[:3]
	again[0].ID, again[1].ID, again[2].ID = made[0].ID, made[1].ID, made[2].ID
	if twice, err := p.Volumes.CreateMany(t.Context(), again); err != nil || len(twice) != 3 || twice[1].ID != made[1].ID {
		t.Errorf("the same ids again: %v", err)
	}
	again[1].ID = again[0].ID
	_, err = p.Volumes.CreateMany(t.Context(), again)
	want(t, err, fault.BadRequest)
	if none, err := p.Volumes.CreateMany(t.Context(), nil); err != nil || none == nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	if sets, _ := filepath.Glob(p.State.Name() + "/sets/*"); len(sets) != 0 {
		t.Errorf("journals left: %v", sets)
	}
}

func TestSetThatWasCutOffIsRolledBack(t *testing.T) {
	p := newPlace(t, `{}`)
	kept, first, second := p.create("kept", mib), p.create("first", mib), p.create("second", mib)
	gone := volume.NewID()
	journal := fmt.Sprintf(`{"volumes":{"pool":[%q,%q,%q],"elsewhere":[%q]}}`, first.ID, second.ID, gone, gone)
	state := t.TempDir()
	if err := errors.Join(os.Mkdir(state+"/sets", 0o700), os.WriteFile(state+"/sets/x.json", []byte(journal), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(state)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := p.Pools.Close(); err != nil {
		t.Fatal(err)
	}
	next := rig.Assemble(t, p.root, func(c *volume.Config) { c.State = root })
	for v, there := range map[volume.ID]bool{kept.ID: true, first.ID: false, second.ID: false} {
		if next.Volumes.Has(t.Context(), v, nil) != there {
			t.Errorf("%s there is %t", v, !there)
		}
	}
	if data, err := os.ReadFile(state + "/sets/x.json"); err != nil || strings.Contains(string(data), "pool\"") || !strings.Contains(string(data), "elsewhere") {
		t.Errorf("journal: %s, %v", data, err)
	}
}

func TestAccessible(t *testing.T) {
	p := newPlace(t, `{}`)
	var public, private, foreign []volume.ID
	for i := range 30 {
		n := wish(fmt.Sprint("v", i), mib)
		switch i % 3 {
		case 0:
			n.Meta.Private = true
		case 1:
			n.Meta.Private, n.Meta.Creator = true, bob
		}
		v, err := p.Volumes.Create(t.Context(), n, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			private = append(private, v.ID)
		case 1:
			foreign = append(foreign, v.ID)
		default:
			public = append(public, v.ID)
		}
	}
	sorted := func(lists ...[]volume.ID) []volume.ID {
		all := slices.Concat(lists...)
		slices.SortFunc(all, func(a, b volume.ID) int { return strings.Compare(a.String(), b.String()) })
		return all
	}
	list := func(c volume.Client, q volume.Query) []volume.ID {
		t.Helper()
		var ids []volume.ID
		for v, err := range p.Volumes.Accessible(t.Context(), c, q) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, v.ID)
			if v.OnDisk < 0 || v.LastUpdated.IsZero() {
				t.Errorf("%+v", v)
			}
		}
		return ids
	}
	tests := map[string]struct {
		who  volume.Client
		want []volume.ID
	}{
		"the owner":     {alice, sorted(public, private)},
		"another owner": {bob, sorted(public, foreign)},
		"somebody else": {client(3), sorted(public)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := list(tt.who, volume.Query{}); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			var paged []volume.ID
			q := volume.Query{Limit: 7}
			for page := list(tt.who, q); len(page) > 0; page = list(tt.who, q) {
				paged = append(paged, page...)
				q.After = &page[len(page)-1]
			}
			if !slices.Equal(paged, tt.want) {
				t.Errorf("by pages %v, want %v", paged, tt.want)
			}
		})
	}
	if got := list(alice, volume.Query{Keep: func(v *volume.Volume) bool { return v.Meta.Name == "v2" }}); len(got) != 1 {
		t.Errorf("filtered: %v", got)
	}
	if _, err := p.Volumes.Get(t.Context(), foreign[0], &alice); !fault.Is(err, fault.VolumeNotFound) {
		t.Errorf("a private volume of somebody else: %v", err)
	}
	if p.Volumes.Has(t.Context(), foreign[0], &alice) || !p.Volumes.Has(t.Context(), foreign[0], &bob) || !p.Volumes.Has(t.Context(), foreign[0], nil) {
		t.Error("Has")
	}
}

func TestRestartKnowsAll(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 5}`)
	a, b := p.create("a", mib), p.create("b", 2*mib)
	if err := p.Volumes.Destroy(t.Context(), b.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := p.Pools.Close(); err != nil {
		t.Fatal(err)
	}
	next := &place{t: t, Parts: rig.Assemble(t, p.root, nil), pool: p.pool}
	got, err := next.Volumes.Get(t.Context(), a.ID, nil)
	if err != nil || got.Meta.Name != "a" || got.Meta.Size != mib {
		t.Errorf("%+v, %v", got, err)
	}
	if bin := next.Volumes.Trashed(t.Context(), nil); len(bin) != 1 || bin[0].ID != b.ID || bin[0].Trashed.IsZero() {
		t.Errorf("bin: %+v", bin)
	}
	if n, bytes := next.used(); n != 2 || bytes != 3*mib {
		t.Errorf("used %d, %d", n, bytes)
	}
}

// TestRefreshAgain lets go by long enough for a directory that did not change to be trusted.
func TestRefreshAgain(t *testing.T) {
	p := newPlace(t, `{}`)
	ids := []volume.ID{p.create("a", mib).ID, p.create("b", mib).ID, p.create("c", mib).ID}
	settle := func() {
		t.Helper()
		for {
			var st unix.Stat_t
			if err := unix.Stat(p.pool, &st); err != nil {
				t.Fatal(err)
			}
			if time.Since(time.Unix(st.Ctim.Unix())) > 2*time.Second {
				break
			}
			<-time.After(50 * time.Millisecond)
		}
		for range 2 {
			if came, went, err := p.Volumes.Refresh(t.Context(), "pool"); came != 0 || went != 0 || err != nil {
				t.Errorf("%d came, %d went, %v", came, went, err)
			}
		}
	}
	elsewhere := t.TempDir()
	for _, id := range ids[:2] {
		settle()
		if err := os.Rename(p.dir(id), filepath.Join(elsewhere, id.String())); err != nil {
			t.Fatal(err)
		}
		if came, went, err := p.Volumes.Refresh(t.Context(), "pool"); came != 0 || went != 1 || err != nil {
			t.Errorf("%d came, %d went, %v", came, went, err)
		}
	}
	for _, id := range ids[:2] { // with no time between
		if err := os.Rename(filepath.Join(elsewhere, id.String()), p.dir(id)); err != nil {
			t.Fatal(err)
		}
		if came, went, err := p.Volumes.Refresh(t.Context(), "pool"); came != 1 || went != 0 || err != nil {
			t.Errorf("%d came, %d went, %v", came, went, err)
		}
	}
	settle()
	if n := p.accessible(); n != len(ids) {
		t.Errorf("%d volumes", n)
	}
}

func TestRefresh(t *testing.T) {
	p := newPlace(t, `{}`)
	known, lost := p.create("known", mib), p.create("lost", mib)
	if err := os.RemoveAll(p.dir(lost.ID)); err != nil {
		t.Fatal(err)
	}
	dropped := volume.NewID()
	if err := os.Mkdir(p.dir(dropped), 0o700); err != nil {
		t.Fatal(err)
	}
	meta := fmt.Sprintf(`{"creatorID":%q,"name":"by hand","private":true}`, bob)
	if err := errors.Join(
		os.WriteFile(p.dir(dropped)+"/data.img", make([]byte, 4096), 0o600),
		os.WriteFile(p.dir(dropped)+"/meta.json", []byte(meta), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	came, went, err := p.Volumes.Refresh(t.Context(), "pool")
	if err != nil || came != 1 || went != 1 {
		t.Errorf("%d came, %d went, %v", came, went, err)
	}
	if v, err := p.Volumes.Get(t.Context(), dropped, &bob); err != nil || v.Meta.Size != 4096 || v.Meta.Name != "by hand" {
		t.Errorf("%+v, %v", v, err)
	}
	if !p.Volumes.Has(t.Context(), known.ID, nil) || p.Volumes.Has(t.Context(), lost.ID, nil) {
		t.Error("the others")
	}
	if n, b := p.used(); n != 2 || b != mib+4096 {
		t.Errorf("used %d, %d", n, b)
	}
	_, _, err = p.Volumes.Refresh(t.Context(), "nowhere")
	want(t, err, fault.PoolNotFound)
}

func TestPoolThatWentIsNotForgotten(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	d, err := p.Volumes.Download(t.Context(), v.ID, nil, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Volumes.RemovePool("pool") // which does not wait for who reads at leisure
	if _, err := d.File.Read(make([]byte, 1)); err == nil && !p.Pools.Infos()[0].Reflink {
		t.Error("the image of a pool that went can still be read")
	}
	_ = d.Close()
	got, err := p.Volumes.Get(t.Context(), v.ID, nil)
	if err != nil || got.Available || got.Meta.Name != "v" {
		t.Errorf("%+v, %v", got, err)
	}
	if n := p.accessible(); n != 1 {
		t.Errorf("%d volumes are listed", n)
	}
	if c := p.Volumes.Census()["pool"]; c != (volume.Census{Standing: 1, Missing: 1}) {
		t.Errorf("counted are %+v", c)
	}
	name := "other"
	want(t, p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Name: &name}), fault.PoolUnavailable)
	_, err = p.Volumes.Create(t.Context(), wish("w", mib), nil)
	want(t, err, fault.PoolUnavailable)
}

func TestDamagedVolume(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	if err := os.WriteFile(p.dir(v.ID)+"/meta.json", []byte(`{"creatorID"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Pools.Close(); err != nil {
		t.Fatal(err)
	}
	next := &place{t: t, Parts: rig.Assemble(t, p.root, nil), pool: p.pool}
	_, err := next.Volumes.Get(t.Context(), v.ID, nil)
	want(t, err, fault.VolumeDamaged)
	want(t, next.Volumes.Convert(t.Context(), v.ID, nil, volume.QCOW2, nil), fault.VolumeDamaged)
	if n := next.accessible(); n != 0 {
		t.Errorf("%d volumes are listed", n)
	}
	if bad := next.Volumes.Damaged(); len(bad) != 1 || bad[0].ID != v.ID {
		t.Errorf("damaged: %v", bad)
	}
	if n, _ := next.used(); n != 1 {
		t.Errorf("%d volumes count", n)
	}
	next.create("whole", mib)
	binned := next.create("binned", mib)
	if err := next.Volumes.Destroy(t.Context(), binned.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if c := next.Volumes.Census(); len(c) != 1 || c["pool"] != (volume.Census{Standing: 2, Trashed: 1, Damaged: 1}) {
		t.Errorf("counted are %+v", c)
	}
	if err := next.Volumes.Destroy(t.Context(), v.ID, nil, true); err != nil || next.Volumes.Has(t.Context(), v.ID, nil) {
		t.Errorf("destroy: %v", err)
	}
}

func TestLockedVolumeIsNamed(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	d, err := p.Volumes.Download(t.Context(), v.ID, nil, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	name := "other"
	err = p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Name: &name})
	want(t, err, fault.VolumeAlreadyLocked)
	if err == nil || !strings.Contains(err.Error(), "download") {
		t.Errorf("%v does not say by what", err)
	}
	if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); got.Locked != "download" {
		t.Errorf("locked is %q", got.Locked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Volumes.Update(ctx, v.ID, nil, volume.Change{Name: &name}); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller left: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Name: &name}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestRecheck(t *testing.T) {
	p := newPlace(t, `{}`)
	v, broken := p.create("v", mib), p.create("broken", mib)
	name := "renamed"
	change := volume.Change{Name: &name}
	for _, id := range []volume.ID{v.ID, broken.ID} {
		file := filepath.Join(p.dir(id), "meta.json")
		if err := errors.Join(os.Rename(file, file+".good"), os.WriteFile(file, []byte("{"), 0o600)); err != nil {
			t.Fatal(err)
		}
		want(t, p.Volumes.Update(t.Context(), id, nil, change), fault.VolumeDamaged)
	}
	if n := p.Volumes.Recheck(t.Context()); n != 0 {
		t.Errorf("%d volumes mended by nobody", n)
	}
	file := filepath.Join(p.dir(v.ID), "meta.json")
	if err := os.Rename(file+".good", file); err != nil {
		t.Fatal(err)
	}
	if n := p.Volumes.Recheck(t.Context()); n != 1 {
		t.Errorf("%d volumes can be used again, want 1", n)
	}
	if got, err := p.Volumes.Get(t.Context(), v.ID, nil); err != nil || got.Meta.Name != "v" {
		t.Errorf("%+v, %v", got, err)
	}
	if n := p.accessible(); n != 1 {
		t.Errorf("%d volumes are listed", n)
	}
	if n, b := p.used(); n != 2 || b != mib {
		t.Errorf("used %d, %d", n, b)
	}
}

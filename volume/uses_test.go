package volume_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// Whoever claims the path opens the image himself, and the volume says when nobody has it open.
func TestAClaimOfThePath(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	o := p.open(v.ID, volume.Claim{Export: "nbd", Path: true})
	if want := filepath.Join(p.dir(v.ID), "data.img"); o.Path() != want {
		t.Errorf("the path is %q, want %q", o.Path(), want)
	}
	_, err := p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "beside", ReadOnly: true})
	want(t, err, fault.VolumeAlreadyExported)
	_, err = o.ReadAt(make([]byte, 512), 0)
	want(t, err, fault.VolumeInUse)
	if err := o.Idle(); err != nil {
		t.Errorf("nobody has it open: %v", err)
	}
	f, err := os.OpenFile(o.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, o.Idle(), fault.ExportBusy)
	turn := func() error {
		return p.Volumes.Turn(t.Context(), v.ID, "look", func(ctx context.Context, turn *volume.Turn) error { return turn.Idle(ctx) })
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	want(t, turn(), fault.ExportBusy) // who opened it is not gone with the claim
	f.Close()
	if err := turn(); err != nil {
		t.Errorf("nobody has it open: %v", err)
	}
	device := p.open(v.ID, volume.Claim{Export: "iscsi"})
	defer device.Close()
	if device.Path() != "" || device.Idle() != nil || device.Requests() < 1 {
		t.Errorf("of a claim of the Device: path %q, %v, %d requests", device.Path(), device.Idle(), device.Requests())
	}
}

// A volume that another client uses can't be hidden from it; one that its owner uses, or nobody, can.
func TestPrivateWhileInUse(t *testing.T) {
	p := newPlace(t, `{}`)
	yes, no := true, false
	for name, tt := range map[string]struct {
		claims []volume.Client
		code   fault.Code
	}{
		"nobody":                {nil, ""},
		"its owner":             {[]volume.Client{alice}, ""},
		"nobody's machines":     {[]volume.Client{{}}, ""},
		"another":               {[]volume.Client{bob}, fault.VolumeInUse},
		"its owner and another": {[]volume.Client{alice, bob}, fault.VolumeInUse},
	} {
		t.Run(name, func(t *testing.T) {
			v := p.create("v", mib)
			for _, c := range tt.claims {
				o := p.open(v.ID, volume.Claim{Export: "of " + c.String(), Client: c})
				defer o.Close()
			}
			err := p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Private: &yes})
			if tt.code != "" {
				want(t, err, tt.code)
				if err != nil && !strings.Contains(err.Error(), bob.String()) {
					t.Errorf("%v: it does not say who", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); got.Meta.Private != (tt.code == "") {
				t.Errorf("private is %t", got.Meta.Private)
			}
			if err := p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{Private: &no}); err != nil {
				t.Errorf("public again: %v", err)
			}
		})
	}
}

func TestFindAndKnows(t *testing.T) {
	p := newPlace(t, `{}`)
	stands, deleted, damaged := p.create("stands", mib), p.create("deleted", mib), p.create("damaged", mib)
	if err := p.Volumes.Destroy(t.Context(), deleted.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir(damaged.ID), "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Volumes.Resize(t.Context(), damaged.ID, nil, volume.ResizeRequest{Size: 2 * mib}); err == nil {
		t.Error("a damaged volume was resized")
	}
	found := p.Volumes.Find(func(*volume.Volume) bool { return true })
	if len(found) != 1 || found[0].ID != stands.ID {
		t.Errorf("found %+v, want the one that can be used", found)
	}
	if none := p.Volumes.Find(func(v *volume.Volume) bool { return v.Meta.Name == "another" }); len(none) > 0 {
		t.Errorf("found %+v, which is not to be kept", none)
	}
	for id, want := range map[volume.ID]bool{stands.ID: true, deleted.ID: true, damaged.ID: true, volume.NewID(): false} {
		if got := p.Volumes.Knows(t.Context(), id, nil); got != want {
			t.Errorf("%s is known: %t", id, got)
		}
	}
	p.Volumes.RemovePool("pool")
	if gone := p.Volumes.Find(func(*volume.Volume) bool { return true }); len(gone) > 0 {
		t.Errorf("found %+v in a pool that is gone", gone)
	}
}

func TestCanCreateAll(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 3, "max-total-size": "4Mi"}`)
	p.create("there", mib)
	for name, tt := range map[string]struct {
		list []volume.NewVolume
		want bool
	}{
		"none":             {nil, true},
		"two":              {[]volume.NewVolume{wish("a", mib), wish("b", 2*mib)}, true},
		"one too many":     {[]volume.NewVolume{wish("a", 512), wish("b", 512), wish("c", 512)}, false},
		"too large at all": {[]volume.NewVolume{wish("a", 2*mib), wish("b", 2*mib)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := p.Volumes.CanCreateAll(t.Context(), tt.list); got != tt.want || err != nil {
				t.Errorf("%t, %v; want %t", got, err, tt.want)
			}
			_, err := p.Volumes.CreateMany(t.Context(), slices.Clone(tt.list))
			if (err == nil) != tt.want {
				t.Errorf("and then: %v", err)
			}
			for _, v := range p.Volumes.Find(func(v *volume.Volume) bool { return v.Meta.Name != "there" }) {
				if err := p.Volumes.Destroy(t.Context(), v.ID, nil, true); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A volume whose directory somebody took away is forgotten by the first who wants to work on it, and no longer counted.
func TestAVolumeThatIsLost(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	told := p.Events.Subscribe(0)
	defer told.Close()
	if err := os.RemoveAll(p.dir(v.ID)); err != nil {
		t.Fatal(err)
	}
	want(t, p.Volumes.Resize(t.Context(), v.ID, nil, volume.ResizeRequest{Size: 2 * mib}), fault.VolumeNotFound)
	if p.Volumes.Has(t.Context(), v.ID, nil) {
		t.Error("it is there still")
	}
	if n, bytes := p.used(); n != 0 || bytes != 0 {
		t.Errorf("%d volumes of %d bytes are counted", n, bytes)
	}
	awaitEvent(t, told, volume.EventLost)
}

// awaitEvent waits for the first event of a kind.
func awaitEvent(t *testing.T, told *volume.Subscription, kind string) {
	t.Helper()
	for late := time.After(time.Minute); ; {
		select {
		case e := <-told.C:
			if e.Type == kind {
				return
			}
		case <-late:
			t.Fatalf("after a minute nobody was told of %s", kind)
		}
	}
}

// Run empties the bins of what has lain there long enough, and of nothing else, until its context ends.
func TestRunSweeps(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "soon", `{"bin-retention": "1ms"}`)
	rig.Pool(t, root, "late", `{"bin-retention": "24h"}`)
	p := &place{t: t, root: root, Parts: rig.Assemble(t, root, nil)}
	ids := map[string]volume.ID{}
	for _, pool := range []string{"soon", "late"} {
		n := wish(pool, mib)
		n.Pool = pool
		v, err := p.Volumes.Create(t.Context(), n, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids[pool] = v.ID
	}
	told := p.Events.Subscribe(0)
	defer told.Close()
	for _, id := range ids {
		if err := p.Volumes.Destroy(t.Context(), id, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Volumes.Run(ctx, time.Millisecond)
	}()
	awaitEvent(t, told, volume.EventPurged)
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("a minute after its context ended it still runs")
	}
	if p.Volumes.Knows(t.Context(), ids["soon"], nil) || !p.Volumes.Knows(t.Context(), ids["late"], nil) {
		t.Errorf("in the bins is %v", p.Volumes.Trashed(t.Context(), nil))
	}
}

func TestReadImport(t *testing.T) {
	dir, root := t.TempDir(), t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	p := rig.Assemble(t, root, func(c *volume.Config) { c.ImportDirs = []string{dir} })
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "image"), []byte("0123456789"), 0o600),
		os.WriteFile(filepath.Join(root, "secret"), []byte("secret"), 0o600),
		os.Symlink(filepath.Join(root, "secret"), filepath.Join(dir, "link")),
	); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, want string
		limit      int64
		code       fault.Code
	}{
		{filepath.Join(dir, "image"), "0123", 4, ""},
		{filepath.Join(dir, "image"), "0123456789", 100, ""},
		{filepath.Join(dir, "absent"), "", 4, fault.FetchForbidden},
		{filepath.Join(dir, "link"), "", 4, fault.FetchForbidden},
		{filepath.Join(root, "secret"), "", 4, fault.FetchForbidden},
		{dir + "/../secret", "", 4, fault.FetchForbidden},
		{"image", "", 4, fault.FetchForbidden},
		{dir, "", 4, fault.FetchForbidden},
	} {
		t.Run(filepath.Base(tt.path), func(t *testing.T) {
			data, err := p.Volumes.ReadImport(tt.path, tt.limit)
			if string(data) != tt.want || (err == nil) != (tt.code == "") || err != nil && !fault.Is(err, tt.code) {
				t.Errorf("%q, %v; want %q, %q", data, err, tt.want, tt.code)
			}
		})
	}
}

func TestCheckBeside(t *testing.T) {
	for name, ok := range map[string]bool{
		volume.ISOInfoFile: true, seedFile: true, volume.SeedDir + "elemento.1.expected": true, volume.SeedDir + strings.Repeat("n", 255): true,
		"": false, "meta.json": false, volume.SeedDir: false, volume.SeedDir + ".": false, volume.SeedDir + "..": false, volume.SeedDir + "a/b": false,
		volume.SeedDir + ".tmp-1": false, volume.SeedDir + "line\nbreak": false, volume.SeedDir + "\x7f": false,
		volume.SeedDir + strings.Repeat("n", 256): false, "user-data": false,
	} {
		if err := volume.CheckBeside(name); (err == nil) != ok || err != nil && !fault.Is(err, fault.BadRequest) {
			t.Errorf("%q: %v, want it allowed: %t", name, err, ok)
		}
		n := wish("v", mib)
		n.Files = map[string][]byte{name: nil}
		if err := n.Check(); (err == nil) != ok {
			t.Errorf("a new volume with %q: %v, want it allowed: %t", name, err, ok)
		}
	}
	n := wish("v", mib)
	n.Files = map[string][]byte{seedFile: make([]byte, volume.MaxBeside+1)}
	want(t, n.Check(), fault.BodyTooLarge)
}

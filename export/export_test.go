package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestExportAndUnexport(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	first := p.export(id, bob)
	if first.Access.Secret == "" || p.toy.login(id, first.Access.Secret) == nil {
		t.Fatalf("%+v lets nobody in", first.Access)
	}
	again := p.export(id, bob)
	if again.Access.Secret != first.Access.Secret || again.Access.User != first.Access.User || again.Record.ID != first.Record.ID {
		t.Errorf("asked again it answers %+v, not %+v", again, first)
	}
	marker := Name(bob, id) + ".exported"
	if got := p.traces(id); !slices.Equal(got, []string{".export", ".export/exports.json", marker}) {
		t.Errorf("on disk: %q", got)
	}
	data, err := os.ReadFile(filepath.Join(p.dir(id), marker))
	if m := parseMarker(data); err != nil || m.Server != p.cfg.ServerID || m.Kind != "iscsi" || m.Epoch != 1 || m.Host == "" || m.BootID == "" || len(m.Portals) != 1 || m.Since.IsZero() {
		t.Errorf("%v: %s", err, data)
	}
	for name, mode := range map[string]os.FileMode{".export": 0o700, ".export/exports.json": 0o600} {
		if info, err := os.Stat(filepath.Join(p.dir(id), name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if b := p.book(id); b.Server != p.cfg.ServerID || len(b.Attachments) != 1 || b.Attachments[0].Secret.Reveal() != first.Access.Secret {
		t.Errorf("the book is %+v", b)
	}
	if v, _ := p.Volumes.Get(t.Context(), id, nil); !slices.Equal(v.Exports, []string{"iscsi:" + bob.String()}) {
		t.Errorf("used by %q", v.Exports)
	}
	for range 2 {
		p.end(id, bob)
		if p.toy.login(id, first.Access.Secret) != nil || len(p.traces(id)) > 0 {
			t.Errorf("afterwards there is %q", p.traces(id))
		}
	}
	if v, _ := p.Volumes.Get(t.Context(), id, nil); len(v.Exports) > 0 {
		t.Errorf("still used by %q", v.Exports)
	}
	if next := p.export(id, carol); next.Access.Secret == first.Access.Secret {
		t.Error("the next client has the same secret")
	}
	if err := p.Unexport(t.Context(), volume.NewID(), bob, "", false); err != nil {
		t.Errorf("unexport of what is not there: %v", err)
	}
}

func TestWhoMayExport(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name    string
		attrs   func(*volume.Meta)
		holders []volume.Client
		request Request
		want    fault.Code // "" is granted
	}{
		{"the owner", nil, nil, Request{Client: alice}, ""},
		{"anybody", nil, nil, Request{Client: bob}, ""},
		{"a second client", nil, []volume.Client{alice}, Request{Client: bob}, fault.VolumeAlreadyExported},
		{"a second client that only reads", nil, []volume.Client{alice}, Request{Client: bob, ReadOnly: &yes}, fault.VolumeAlreadyExported},
		{"the same client over another kind", nil, []volume.Client{alice}, Request{Client: alice, Kind: "nbd"}, fault.VolumeAlreadyExported},
		{"a private volume's owner", private, nil, Request{Client: alice}, ""},
		{"somebody else, of a private volume", private, nil, Request{Client: bob}, fault.VolumeNotExportable},
		{"a shareable volume", shareable, []volume.Client{alice, bob}, Request{Client: carol}, ""},
		{"a shareable volume over two kinds", shareable, []volume.Client{alice}, Request{Client: alice, Kind: "nbd"}, ""},
		{"a read-only volume", readonly, []volume.Client{alice, bob}, Request{Client: carol}, ""},
		{"a read-only volume, to be written", readonly, nil, Request{Client: alice, ReadOnly: &no}, ""},
		{"an unknown kind", nil, nil, Request{Client: alice, Kind: "fax"}, fault.BadRequest},
		{"a name that is none", nil, nil, Request{Client: alice, Initiator: "bad"}, fault.BadRequest},
		{"a name that is none, again", nil, []volume.Client{alice}, Request{Client: alice, Initiator: "bad"}, fault.BadRequest},
		{"otherwise than it is", nil, []volume.Client{alice}, Request{Client: alice, ReadOnly: &yes}, fault.VolumeAlreadyExported},
		{"for another initiator", nil, []volume.Client{alice}, Request{Client: alice, Initiator: "iqn.x"}, fault.VolumeAlreadyExported},
		{"with several paths", nil, []volume.Client{alice}, Request{Client: alice, Multipath: &yes}, fault.VolumeAlreadyExported},
		{"a takeover without the caller's word", nil, nil, Request{Client: alice, Takeover: true}, fault.BadRequest},
		{"a rate below 0", nil, nil, Request{Client: alice, Rates: Rates{ReadMB: new(-1.0)}}, fault.BadRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t, `{}`)
			id := p.create(func(m *volume.Meta) {
				if tt.attrs != nil {
					tt.attrs(m)
				}
			})
			for _, c := range tt.holders {
				p.export(id, c)
			}
			before := fmt.Sprint(p.traces(id), p.book(id))
			q := tt.request
			q.Volume = id
			a, err := p.Export(t.Context(), q)
			if tt.want != "" {
				wantCode(t, err, tt.want)
				if after := fmt.Sprint(p.traces(id), p.book(id)); after != before {
					t.Errorf("what was refused left %s, not %s", after, before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := p.Volumes.Get(t.Context(), id, nil); v.Meta.ReadOnly && !a.Record.ReadOnly {
				t.Error("a read-only volume may be written")
			}
		})
	}
}

func TestWhatCanNotBeExported(t *testing.T) {
	p := newPlace(t, `{}`)
	_, err := p.Export(t.Context(), Request{Volume: volume.NewID(), Client: alice})
	wantCode(t, err, fault.VolumeNotFound)

	trashed := p.create()
	if err := p.Volumes.Destroy(t.Context(), trashed, nil, false); err != nil {
		t.Fatal(err)
	}
	_, err = p.Export(t.Context(), Request{Volume: trashed, Client: alice})
	wantCode(t, err, fault.VolumeInTrash)
	if err := p.Unexport(t.Context(), trashed, alice, "", false); err != nil {
		t.Errorf("unexport of what lies in the bin: %v", err)
	}

	locked := p.create()
	unlock := p.lock(locked)
	_, err = p.Export(t.Context(), Request{Volume: locked, Client: alice})
	wantCode(t, err, fault.VolumeAlreadyLocked)
	unlock()

	damaged := p.create()
	p.export(damaged, alice)
	p.end(damaged, alice)
	if err := errors.Join(os.Mkdir(filepath.Join(p.dir(damaged), ".export"), 0o700),
		os.WriteFile(filepath.Join(p.dir(damaged), ".export", "exports.json"), []byte(`{"version":1,"attachments":[{"secret":"hunter2"}]}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = p.Export(t.Context(), Request{Volume: damaged, Client: alice})
	wantCode(t, err, fault.VolumeDamaged)
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error has the secret: %v", err)
	}
}

func TestNamesThatCollide(t *testing.T) {
	p := newPlace(t, `{}`)
	one, two := p.create(), p.create()
	// The client whose name for the second volume is bob's for the first.
	x, _ := volume.ParseID(strings.TrimPrefix(Name(bob, one), namePrefix))
	twin := rig.Client(strings.TrimPrefix(Name(rig.Client(two.String()), x), namePrefix))
	if Name(twin, two) != Name(bob, one) {
		t.Fatal("the test's own arithmetic")
	}
	p.export(one, bob)
	_, err := p.Export(t.Context(), Request{Volume: two, Client: twin})
	wantCode(t, err, fault.TargetNameTaken)
	if got := p.traces(two); len(got) > 0 {
		t.Errorf("what was refused left %q", got)
	}
	p.end(one, bob)
	p.export(two, twin)
}

func TestRotate(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	first := p.export(id, bob)
	second, err := p.Export(t.Context(), Request{Volume: id, Client: bob, Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	if second.Access.Secret == first.Access.Secret || second.Access.User != first.Access.User || second.Record.ID != first.Record.ID {
		t.Errorf("%+v after %+v", second.Access, first.Access)
	}
	if p.toy.login(id, first.Access.Secret) != nil || p.toy.login(id, second.Access.Secret) == nil {
		t.Error("the wrong secret lets in")
	}
	if p.book(id).Attachments[0].Secret.Reveal() != second.Access.Secret || p.export(id, bob).Access.Secret != second.Access.Secret {
		t.Error("the new secret is not kept")
	}
}

func TestRates(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create(func(m *volume.Meta) {
		m.Extra = map[string]json.RawMessage{"read_MB_bw": []byte("12.5"), "write_iops": []byte("100"), "read_iops": []byte(`"many"`)}
	})
	rates := func() [4]int64 {
		a := p.toy.login(id, p.export(id, bob).Access.Secret)
		rb, wb, ro, wo := a.rates.PerSecond()
		return [4]int64{rb, wb, ro, wo}
	}
	if got := rates(); got != [4]int64{12_500_000, 0, 0, 100} {
		t.Errorf("the volume's rates came out as %v", got)
	}
	if _, err := p.Export(t.Context(), Request{Volume: id, Client: bob, Rates: Rates{WriteIOPS: new(0.0), WriteMB: new(0.0000001)}}); err != nil {
		t.Fatal(err)
	}
	if got := rates(); got != [4]int64{12_500_000, 1, 0, 0} {
		t.Errorf("with the request's own they came out as %v", got)
	}
	if err := p.Volumes.Update(t.Context(), id, nil, volume.Change{Extra: map[string]json.RawMessage{"read_iops": []byte("5")}}); err != nil {
		t.Fatal(err)
	}
	p.restore(t.Context(), id)
	if got := rates(); got != [4]int64{12_500_000, 1, 5, 0} {
		t.Errorf("after a change of the volume's they came out as %v", got)
	}
}

func TestIfIdle(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	a := p.export(id, bob)
	at := p.toy.login(id, a.Access.Secret)
	at.enter("iqn.machine")
	err := p.Unexport(t.Context(), id, bob, "", true)
	wantCode(t, err, fault.ExportBusy)
	if err == nil || !strings.Contains(err.Error(), "iqn.machine at 192.0.2.9:40000") {
		t.Errorf("%v does not say who is there", err)
	}
	if p.toy.login(id, a.Access.Secret) == nil || len(p.book(id).Attachments) != 1 {
		t.Error("it ended all the same")
	}
	at.live = nil
	if err := p.Unexport(t.Context(), id, bob, "", true); err != nil || len(p.traces(id)) > 0 {
		t.Errorf("%v, %q", err, p.traces(id))
	}
}

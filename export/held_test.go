package export

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

// An export that is recorded, and does not stand at the moment, keeps its volume as one that stands does.
func TestExportThatWaitsKeepsItsVolume(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	p.export(id, bob)
	p.restart()
	p.toy.failOn("serve", errors.New("not now"))
	p.Restore(t.Context())
	if got := p.Standing(id); len(got) > 0 {
		t.Fatalf("there stand %+v", got)
	}
	p.refuses(id)
	p.end(id, bob)
	p.allows(id)
}

// A Book that can't be read may be of exports that are in use: its volume is kept until it is mended or removed.
func TestUnreadableBookKeepsItsVolume(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	dir := filepath.Join(p.dir(id), volume.RecordsDir)
	book := filepath.Join(dir, bookName+".json")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(book, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.refuses(id)
	if err := os.Remove(book); err != nil {
		t.Fatal(err)
	}
	p.allows(id)
}

// What another server's Book says nobody lets in here: the volume came from there, with its pool.
func TestBookFromElsewhereKeepsNothing(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	p.export(id, bob)
	p.cfg.ServerID = volume.NewID().String()
	p.restart()
	p.Restore(t.Context())
	p.allows(id)
}

// A Book does not keep what lies in the bin from being purged: nothing stands there.
func TestBookInTheBinKeepsNothing(t *testing.T) {
	p := newPlace(t, `{"bin-retention":"1h"}`)
	id := p.create()
	p.export(id, bob)
	p.restart()
	p.Exported = nil // as another server of the pool put it there
	if err := p.Volumes.Destroy(t.Context(), id, nil, false); err != nil {
		t.Fatal(err)
	}
	p.Exported = p.Recorded
	if err := p.Volumes.Destroy(t.Context(), id, nil, true); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Volumes.EmptyTrash(t.Context(), "", nil); n != 0 || err != nil {
		t.Errorf("it lies in the bin still: %d, %v", n, err)
	}
}

// calls are changes that a volume that is used refuses.
func (p *place) calls(id volume.ID) map[string]func() error {
	ctx, yes := p.t.Context(), true
	return map[string]func() error{
		"shrink": func() error {
			return p.Volumes.Resize(ctx, id, nil, volume.ResizeRequest{Size: 1 << 19, Shrink: true})
		},
		"update":  func() error { return p.Volumes.Update(ctx, id, nil, volume.Change{ReadOnly: &yes}) },
		"convert": func() error { return p.Volumes.Convert(ctx, id, nil, volume.QCOW2, nil) },
		"bin":     func() error { return p.Volumes.Destroy(ctx, id, nil, false) },
		"purge":   func() error { return p.Volumes.Destroy(ctx, id, nil, true) },
	}
}

func (p *place) refuses(id volume.ID) {
	p.t.Helper()
	for what, call := range p.calls(id) {
		code := fault.VolumeInUse
		if what == "bin" || what == "purge" {
			code = fault.VolumeCannotBeDeleted
		}
		if err := call(); !fault.Is(err, code) {
			p.t.Errorf("%s: got %v, want %s", what, err, code)
		}
	}
}

func (p *place) allows(id volume.ID) {
	p.t.Helper()
	calls := p.calls(id)
	for _, what := range []string{"shrink", "purge"} {
		if err := calls[what](); err != nil {
			p.t.Errorf("%s: %v", what, err)
		}
	}
}

package lun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"elstore/export"
	"elstore/export/scsi"
	"elstore/volume"
	"elstore/volume/fault"
)

// beside is another kind, which may be off.
type beside struct{ off bool }

func (*beside) Name() string                                                   { return "samba" }
func (*beside) Where() []string                                                { return nil }
func (*beside) Stop(context.Context) error                                     { return nil }
func (*beside) Resized(int64)                                                  {}
func (*beside) Close(context.Context, bool) error                              { return nil }
func (*beside) Complete(*volume.Volume, *export.Request, *export.Record) error { return nil }

func (b *beside) Serve(context.Context, export.Medium) (export.Unit, error) {
	if b.off {
		return nil, errors.New("exports of type samba are off")
	}
	return b, nil
}

func (*beside) Attach(context.Context, export.Record, export.Rates, *export.Gate, export.Watch) (export.Attached, error) {
	return besideAttached{}, nil
}

type besideAttached struct{}

func (besideAttached) Access(*export.Request) export.Access    { return export.Access{} }
func (besideAttached) Renew(export.Record, export.Rates) error { return nil }
func (besideAttached) Sessions() []export.Session              { return nil }
func (besideAttached) Counts() export.Counts                   { return export.Counts{} }
func (besideAttached) Detach(context.Context) error            { return nil }
func (besideAttached) Remove(context.Context) error            { return nil }

// A kind that is off after a restart keeps nobody of another kind out, and costs nobody its registrations.
func TestKindThatIsOffKeepsNobodyElseOut(t *testing.T) {
	s := newServer(t)
	other := &beside{}
	s.beside = []export.Kind{other}
	s.restart()
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one := s.export(id, alice, first)
	if _, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: bob, Kind: "samba"}); err != nil {
		t.Fatal(err)
	}
	i := s.login(first, one.Access.Target)
	i.run(register(1))
	i.run(reserve(1))
	for _, off := range []bool{true, false} {
		other.off = off
		s.restart()
		if i = s.login(first, one.Access.Target); i == nil {
			t.Fatalf("with the other kind off (%t) the login is refused", off)
		}
		if got := i.keys(); !slices.Equal(got, []byte{1}) {
			t.Errorf("with the other kind off (%t) the keys are %d", off, got)
		}
		if again := s.export(id, alice, first); again.Record.ID != one.Record.ID {
			t.Errorf("asked again there is %v", again.Record.ID)
		}
		want := 2
		if off {
			want = 1
		}
		if got, orphans := s.exports.List(t.Context(), export.Query{}), s.exports.Orphans(t.Context()); len(got) != want || len(orphans) > 0 != off {
			t.Errorf("with the other kind off (%t) there stand %+v, and %+v does not", off, got, orphans)
		}
	}
	// It is let in as soon as that works.
	other.off = true
	s.restart()
	other.off = false
	s.exports.Reconcile(t.Context())
	if got := s.exports.List(t.Context(), export.Query{}); len(got) != 2 {
		t.Errorf("in the end there stand %+v", got)
	}
}

// What was exported without CHAP lets nobody in on a server that asks for CHAP, until it is exported again with a secret; others
// are let in all the while.
func TestExportWithoutCHAPOnAServerThatAsksForIt(t *testing.T) {
	s := newServer(t)
	s.beside = []export.Kind{&beside{}}
	s.restart()
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one := s.export(id, alice, first)
	if _, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: bob, Kind: "samba"}); err != nil {
		t.Fatal(err)
	}
	s.login(first, one.Access.Target).run(register(1))
	s.chap = true
	s.restart()
	if s.login(first, one.Access.Target) != nil {
		t.Fatal("it lets in without CHAP")
	}
	if got := s.exports.List(t.Context(), export.Query{}); len(got) != 1 || got[0].Record.Client != bob {
		t.Errorf("there stand %+v", got)
	}
	_, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: alice})
	if !fault.Is(err, fault.VolumeNotExportable) || !strings.Contains(err.Error(), "rotate") || !strings.Contains(err.Error(), "--iscsi-no-chap") {
		t.Errorf("got %v", err)
	}
	two, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: alice, Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	if two.Access.User == "" || two.Access.Secret == "" || two.Access.PeerUser == "" {
		t.Errorf("with rotate it answers %+v", two.Access)
	}
	if s.login(first, two.Access.Target) != nil {
		t.Error("it lets in without CHAP still")
	}
	s.restart()
	if got := s.exports.List(t.Context(), export.Query{}); len(got) != 2 || len(s.exports.Orphans(t.Context())) > 0 {
		t.Errorf("after a restart there stand %+v", got)
	}
}

// A fence ends although registrations can't be saved, as in a full pool, if nobody is left who could be held up by them.
func TestFenceOfTheLastNeedsNoRoom(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one, two := s.export(id, alice, first), s.export(id, bob, second)
	a, b := s.login(first, one.Access.Target), s.login(second, two.Access.Target)
	a.run(register(1))
	b.run(register(2))
	record := filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", ".export", "iscsi.json")
	kept, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(record), os.Mkdir(record, 0o700)); err != nil { // nothing can be renamed to it
		t.Fatal(err)
	}
	// Beside another one it has to be saved.
	if err := s.exports.Unexport(t.Context(), id, alice, "", false); !fault.Is(err, fault.ExportFencing) {
		t.Errorf("got %v", err)
	}
	if err := s.exports.Unexport(t.Context(), id, bob, "", false); !fault.Is(err, fault.ExportFencing) { // the first one's, which was before
		t.Errorf("got %v", err)
	}
	if err := s.exports.Unexport(t.Context(), id, bob, "", false); err != nil {
		t.Errorf("the last one's fence does not end: %v", err)
	}
	if got := s.exports.List(t.Context(), export.Query{}); len(got) > 0 {
		t.Errorf("there stand %+v", got)
	}
	// As if the server had died before it forgot them.
	if err := errors.Join(os.RemoveAll(filepath.Dir(record)), os.Mkdir(filepath.Dir(record), 0o700), os.WriteFile(record, kept, 0o600)); err != nil {
		t.Fatal(err)
	}
	three := s.export(id, bob, second)
	i := s.login(second, three.Access.Target)
	if i == nil {
		t.Fatal("the login is refused")
	}
	if got := i.keys(); len(got) > 0 {
		t.Errorf("keys of before are there: %d", got)
	}
	i.run(register(3))
	if got := i.keys(); !slices.Equal(got, []byte{3}) {
		t.Errorf("the keys are %d", got)
	}
}

// The end of the last that stands takes nothing from who is to be let in again.
func TestWhoWaitsKeepsItsRegistrations(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one := s.export(id, alice, first)
	s.login(first, one.Access.Target).run(register(1))
	s.chap = true
	s.restart()
	s.export(id, bob, second)
	if err := s.exports.Unexport(t.Context(), id, bob, "", false); err != nil {
		t.Fatal(err)
	}
	s.chap = false
	s.restart()
	i := s.login(first, one.Access.Target)
	if i == nil {
		t.Fatal("the login is refused")
	}
	if got := i.keys(); !slices.Equal(got, []byte{1}) {
		t.Errorf("the keys are %d", got)
	}
}

// Who waits to be let in again, and is unexported before, holds up nobody with what it had reserved: not those who stand, nor those who come
// after a restart.
func TestWhoWaitsLosesItsRegistrationsWithItsExport(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	one := s.export(id, alice, first)
	i := s.login(first, one.Access.Target)
	i.run(register(1))
	i.run(reserve(1))
	s.chap = true
	s.restart() // now the first can't be let in: it has no secret
	two := s.export(id, bob, second)
	lu := func() *scsi.Reservations {
		return s.exports.Standing(id)[0].Attached.(*attached).unit.lu.Reservations()
	}
	if got := lu(); len(got.Registrations) != 1 || got.Type == 0 {
		t.Fatalf("the reservations are %+v", got)
	}
	record := filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", ".export", "iscsi.json")
	kept, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(record), os.Mkdir(record, 0o700)); err != nil { // nothing can be renamed to it
		t.Fatal(err)
	}
	for range 2 {
		if err := s.exports.Unexport(t.Context(), id, alice, "", false); !fault.Is(err, fault.ExportFencing) {
			t.Errorf("what is not saved may come back: %v", err)
		}
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	s.exports.Reconcile(t.Context()) // as Run does, though nobody calls again
	if got := lu(); len(got.Registrations) > 0 || got.Type != 0 {
		t.Errorf("the reservations are %+v", got)
	}
	if err := s.exports.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Error(err)
	}
	s.restart()
	if got := lu(); len(got.Registrations) > 0 || got.Type != 0 {
		t.Errorf("after a restart the reservations are %+v", got)
	}
	if again := s.export(id, bob, second); again.Record.ID != two.Record.ID {
		t.Errorf("asked again there is %v", again.Record.ID)
	}
}

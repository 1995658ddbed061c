package lun

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"elstore/export"
	"elstore/export/scsi"
	"elstore/test/rig"
	"elstore/volume"
)

// newDuo is two servers on two hosts that share a pool.
func newDuo(t *testing.T) (one, two *server) {
	t.Helper()
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{"shared": true}`)
	for _, s := range []**server{&one, &two} {
		*s = &server{t: t, root: root, id: volume.NewID().String(), boot: volume.NewID().String(), shared: true}
		(*s).start()
	}
	return one, two
}

// sees has a server find a volume that another one made.
func (s *server) sees(id volume.ID) {
	s.t.Helper()
	if _, _, err := s.Volumes.Refresh(s.t.Context(), "pool"); err != nil || !s.Volumes.Has(s.t.Context(), id, nil) {
		s.t.Fatal("the other server does not see the volume", err)
	}
}

// TestReservationsMoveToAnotherServer has what a machine reserved through one server be its own through another one, which had the volume open
// before that was reserved.
func TestReservationsMoveToAnotherServer(t *testing.T) {
	one, two := newDuo(t)
	id := one.create()
	two.sees(id)
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

// TestReservationsComeBack has what a machine reserved be its own again when its migration to another server is reverted after that one had
// the pen, whatever restarts meanwhile; and so a second time. What the other host reserved for itself beside that ends.
func TestReservationsComeBack(t *testing.T) {
	for name, tt := range map[string]struct {
		there bool // the machine's other host is logged in when the pen comes
		crash func(one, two *server)
	}{
		"nothing restarts":             {there: true},
		"the other server restarts":    {there: true, crash: func(_, two *server) { two.restart() }},
		"both restart":                 {there: true, crash: func(one, two *server) { two.restart(); one.restart() }},
		"the other host is not there":  {},
		"and the other server crashes": {crash: func(_, two *server) { two.restart() }},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newDuo(t)
			id := one.create()
			two.sees(id)
			was := one.export(id, alice, first)
			source := one.login(first, was.Access.Target)
			source.run(register(1))
			source.run(reserve(1))
			for range 2 {
				ctx := t.Context()
				p := export.Passing{
					Volume: id, Migration: volume.NewID().String(), Source: was.Record.ID, Destination: volume.NewID(), Client: bob, Server: two.id,
					Initiator: second,
				}
				if err := errors.Join(one.exports.Admit(ctx, p), two.exports.Visit(ctx, id)); err != nil {
					t.Fatal(err)
				}
				var there *initiator
				if tt.there {
					there = two.login(second, export.Name(bob, id))
				}
				err := errors.Join(
					one.exports.ShutGate(ctx, id, p.Source), one.exports.Pass(ctx, id, p.Migration, two.id),
					two.exports.Take(ctx, id), two.exports.Inherit(ctx, id, p.Source, p.Destination),
				)
				if err != nil {
					t.Fatal(err)
				}
				if tt.there && !slices.Equal(there.keys(), []byte{1}) {
					t.Error("the other host has not what was reserved")
				}
				if tt.crash != nil {
					tt.crash(one, two)
				}
				if err := two.exports.Return(ctx, id, p.Migration, p.Destination); err != nil {
					t.Fatal(err)
				}
				if list := two.exports.List(ctx, export.Query{}); len(list) > 0 || two.login(second, export.Name(bob, id)) != nil {
					t.Errorf("the other server exports %+v", list)
				}
				one.exports.Revisit(ctx, id)
				source = one.login(first, was.Access.Target)
				if source == nil {
					t.Fatal("the source can't log in")
				}
				if got := source.keys(); !slices.Equal(got, []byte{1}) {
					t.Errorf("the keys are %d", got)
				}
				if status, _ := source.run(write10(0, 1), make([]byte, 512)); status != 0 {
					t.Errorf("a write of the holder ends with status %d", status)
				}
				if r := one.reservations(id); r.Type == 0 || r.Holder == nil || r.Holder.Key != 1 || len(r.Registrations) != 1 {
					t.Errorf("reserved is %+v", r)
				}
			}
		})
	}
}

// reservations are those on disk.
func (s *server) reservations(id volume.ID) *scsi.Reservations {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", ".export", recordName+".json"))
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := parseSaved(data)
	if err != nil || r.Reservations == nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	return r.Reservations
}

// What was lent goes back to where it was, the reservation with its holder, and what there is no room for stays.
func TestGiveBack(t *testing.T) {
	from, to, other := volume.NewID(), volume.NewID(), volume.NewID()
	at := func(port string, id volume.ID) (scsi.Registration, owned) {
		return scsi.Registration{Initiator: port, Port: "t" + port, PortID: 1}, owned{port, "t" + port, id}
	}
	record := func(holder string, at ...func() (scsi.Registration, owned)) *saved {
		s := &saved{Reservations: &scsi.Reservations{Type: scsi.WriteExclusive}}
		for _, f := range at {
			g, o := f()
			if s.Reservations.Registrations, s.Owners = append(s.Reservations.Registrations, g), append(s.Owners, o); g.Initiator == holder {
				s.Reservations.Holder = &g
			}
		}
		return s
	}
	of := func(port string, id volume.ID) func() (scsi.Registration, owned) {
		return func() (scsi.Registration, owned) { return at(port, id) }
	}
	for name, tt := range map[string]struct {
		lender *saved // what it had
		now    *saved // what is there when it goes back
		from   volume.ID
		want   string // who is registered then, the holder with a star
	}{
		"one":                        {record("a", of("a", from)), record("x", of("x", to)), from, "a*"},
		"of two the holder's first":  {record("b", of("a", from), of("b", from)), record("y", of("x", to), of("y", to)), from, "a b*"},
		"one was released":           {record("b", of("a", from), of("b", from)), record("x", of("x", to)), from, "b*"},
		"one was added":              {record("a", of("a", from)), record("x", of("x", to), of("y", to)), from, "a* y"},
		"one stayed behind":          {record("a", of("a", from), of("b", from)), record("x", of("x", to), of("y", to), of("b", from)), from, "a* y b"},
		"another one's is left":      {record("a", of("a", from)), record("z", of("x", to), of("z", other)), from, "a z*"},
		"nothing is there any more":  {record("a", of("a", from)), record(""), from, ""},
		"it was lent by another one": {record("a", of("a", from)), record("x", of("x", to)), other, "x*"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.lender.lend(from, to)
			tt.now.Lent = tt.lender.Lent
			tt.now.lend(from, to) // for the second time, which changes nothing
			tt.now.giveBack(tt.from, to)
			var got []string
			for _, g := range tt.now.Reservations.Registrations {
				name := g.Initiator
				if tt.now.holds(g) {
					name += "*"
				}
				got = append(got, name)
				if owner := slices.IndexFunc(tt.now.Owners, func(o owned) bool { return o.Initiator == g.Initiator && o.Port == g.Port }); owner < 0 {
					t.Errorf("%s is nobody's", g.Initiator)
				}
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("registered are %q, want %q", text, tt.want)
			}
		})
	}
}

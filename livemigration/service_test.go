package livemigration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestAMachineMoves(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(2)
	set := s.prepared(ids...)
	if set.State != Prepared || set.Pen != Source || len(set.Access) != 2 || set.Access[0].URI != "toy://"+set.Parts[0].Destination.String() {
		t.Errorf("prepared %+v", set)
	}
	if again := s.prepared(ids[1], ids[0]); !reflect.DeepEqual(again, set) {
		t.Errorf("asked again it answers\n%+v, not\n%+v", again, set)
	}
	rec := set.Record
	s.wantWriter(rec, Source)
	if _, err := s.Conclude(t.Context(), Ref{ID: rec.ID}, false); !fault.Is(err, fault.ConditionFailed) {
		t.Errorf("concluded without the destination: %v", err)
	}
	s.arrive(rec)
	s.at(rec, 1, Source).reserved = "key"
	s.wantWriter(rec, Source)
	if !s.at(rec, 0, Destination).write(t.Context()) {
		t.Error("the destination can't write")
	}
	if now, err := s.Get(Ref{Volumes: ids}); err != nil || now.Pen != Destination || len(now.Sessions[1]) != 1 {
		t.Errorf("%+v, %v", now, err)
	}
	s.wantWriter(rec, Destination)
	if got := s.at(rec, 1, Destination).reserved; got != "key" {
		t.Errorf("the destination has reserved %q", got)
	}
	if _, err := s.Revert(t.Context(), Ref{ID: rec.ID}, false); !fault.Is(err, fault.MigrationState) {
		t.Errorf("reverted what the destination wrote to: %v", err)
	}
	source := s.at(rec, 0, Source)
	for range 2 {
		now, err := s.Conclude(t.Context(), Ref{Volumes: ids}, false)
		if err != nil || now.State != Stable || now.Owner != Destination {
			t.Errorf("concluded %+v, %v", now, err)
		}
	}
	if source.login() || source.write(t.Context()) {
		t.Error("the source gets in still")
	}
	s.wantWriter(rec, Destination)
	s.wantOwner(rec, bob)
	s.restart()
	s.wantWriter(rec, Destination)
	s.wantOwner(rec, bob)
	_, err := s.Revert(t.Context(), Ref{ID: rec.ID}, true)
	wantCode(t, err, fault.MigrationState)
	if _, err := s.Prepare(t.Context(), Request{Volumes: ids, Source: Party{Client: bob}, Destination: Party{Client: alice}}); err != nil {
		t.Errorf("it can't go back: %v", err)
	}
}

func TestAMachineStays(t *testing.T) {
	for name, tt := range map[string]struct{ wrote, restart bool }{
		"before the destination wrote":                 {false, false},
		"after a restart":                              {false, true},
		"the destination wrote, and nobody wants that": {true, false},
		"that, after a restart":                        {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			rec := s.prepared(s.disks(2)...).Record
			s.arrive(rec)
			s.at(rec, 0, Source).login()
			s.at(rec, 0, Source).reserved = "key"
			if tt.wrote && !s.at(rec, 0, Destination).write(t.Context()) {
				t.Error("the destination can't write")
			}
			if tt.restart {
				s.restart()
				s.arrive(rec)
			}
			gone := s.at(rec, 0, Destination)
			_, err := s.Revert(t.Context(), Ref{ID: rec.ID}, false)
			if tt.wrote {
				wantCode(t, err, fault.MigrationState)
				s.wantWriter(rec, Destination)
				_, err = s.Revert(t.Context(), Ref{ID: rec.ID}, true)
			}
			s.must(err)
			if gone.login() || gone.write(t.Context()) {
				t.Error("the destination gets in still")
			}
			s.wantWriter(rec, Source)
			s.wantOwner(rec, alice)
			if !tt.restart && s.at(rec, 0, Source).reserved != "key" {
				t.Error("what the source had reserved is gone")
			}
			_, err = s.Conclude(t.Context(), Ref{ID: rec.ID}, true)
			wantCode(t, err, fault.MigrationState)
			s.restart()
			s.wantWriter(rec, Source)
			s.wantOwner(rec, alice)
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(3)
	m := volume.Meta{Creator: alice, Name: "x", Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20}
	lone, err := s.Volumes.Create(t.Context(), volume.NewVolume{Meta: m}, nil)
	s.must(err)
	m.Private = true
	private, err := s.Volumes.Create(t.Context(), volume.NewVolume{Meta: m}, nil)
	s.must(err)
	for _, q := range []export.Request{{Volume: private.ID, Client: alice}} {
		_, err = s.exports.Export(t.Context(), q)
		s.must(err)
	}
	open := s.disks(1)[0]
	s.must(s.exports.Unexport(t.Context(), open, alice, "", false))
	_, err = s.exports.Export(t.Context(), export.Request{Volume: open, Client: alice, Initiator: "open"})
	s.must(err)
	busy := s.prepared(ids[2])
	from, to := Party{Client: alice}, Party{Client: bob}
	for name, tt := range map[string]struct {
		q    Request
		code fault.Code
	}{
		"no volumes":               {Request{Source: from, Destination: to}, fault.BadRequest},
		"a volume twice":           {Request{Volumes: []volume.ID{ids[0], ids[0]}, Source: from, Destination: to}, fault.BadRequest},
		"too many volumes":         {Request{Volumes: make([]volume.ID, maxVolumes+1), Source: from, Destination: to}, fault.BadRequest},
		"an unknown volume":        {Request{Volumes: []volume.ID{ids[0], volume.NewID()}, Source: from, Destination: to}, fault.VolumeNotFound},
		"what is not exported":     {Request{Volumes: []volume.ID{ids[0], lone.ID}, Source: from, Destination: to}, fault.VolumeNotExported},
		"what another client has":  {Request{Volumes: []volume.ID{ids[0]}, Source: to, Destination: from}, fault.VolumeNotExported},
		"another source initiator": {Request{Volumes: []volume.ID{ids[0]}, Source: Party{Client: alice, Initiator: "x"}, Destination: to}, fault.VolumeNotExported},
		"a private volume":         {Request{Volumes: []volume.ID{ids[0], private.ID}, Source: from, Destination: to}, fault.VolumeNotExportable},
		"an initiator that is none": {
			Request{Volumes: []volume.ID{ids[0]}, Source: from, Destination: Party{Client: bob, Initiator: "bad"}}, fault.BadRequest,
		},
		"no CHAP and one name": {Request{Volumes: []volume.ID{open}, Source: from, Destination: Party{Initiator: "open"}}, fault.BadRequest},
		"what migrates":        {Request{Volumes: []volume.ID{ids[0], ids[2]}, Source: from, Destination: to}, fault.VolumeMigrating},
		"what migrates elsewhere": {
			Request{Volumes: []volume.ID{ids[2]}, Source: from, Destination: Party{Client: client(3)}}, fault.VolumeMigrating,
		},
		"a short time": {Request{Volumes: ids[:1], Source: from, Destination: to, Timeout: time.Millisecond}, fault.BadRequest},
		"a long time":  {Request{Volumes: ids[:1], Source: from, Destination: to, Timeout: 1000 * time.Hour}, fault.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := s.Prepare(t.Context(), tt.q)
			if set != nil || !fault.Is(err, tt.code) {
				t.Errorf("%+v, %v; want %s", set, err, tt.code)
			}
			for _, id := range ids[:2] {
				if list := s.exports.List(t.Context(), export.Query{Volume: &id}); len(list) != 1 || list[0].Record.Migration != "" {
					t.Errorf("something is left: %+v", list)
				}
			}
			if list := s.List(nil); len(list) != 1 || list[0].ID != busy.ID || len(s.journals()) != 1 {
				t.Errorf("something is left: %+v, %v", list, s.journals())
			}
		})
	}
}

func TestOneClientWithTwoHosts(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(1)
	set, err := s.Prepare(t.Context(), Request{Volumes: ids, Source: Party{Client: alice}, Destination: Party{Initiator: "other"}})
	s.must(err)
	s.arrive(set.Record)
	_, err = s.Conclude(t.Context(), Ref{ID: set.ID}, false)
	s.must(err)
	s.wantOwner(set.Record, alice)
	s.wantWriter(set.Record, Destination)
}

func TestRefs(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(2)
	set := s.prepared(ids...)
	for _, q := range []Ref{{}, {ID: volume.NewID()}, {Volumes: []volume.ID{volume.NewID()}}, {Volumes: append(ids[:2:2], volume.NewID())}} {
		if _, err := s.Revert(t.Context(), q, false); !fault.Is(err, fault.MigrationNotFound) {
			t.Errorf("%v: %v", q, err)
		}
	}
	_, err := s.Revert(t.Context(), Ref{Volumes: ids[:1]}, false)
	wantCode(t, err, fault.BadRequest)
	_, err = s.Revert(t.Context(), Ref{Volumes: ids}, false)
	s.must(err)
	second := s.prepared(ids...)
	if now, err := s.Get(Ref{Volumes: ids}); err != nil || now.ID != second.ID || second.ID == set.ID {
		t.Errorf("%v %v", now.ID, err)
	}
	if a, b, c := s.List(nil), s.List(&bob), s.List(&volume.Client{}); len(a) != 2 || a[0].ID != set.ID || len(b) != 2 || len(c) != 0 {
		t.Errorf("%v, %v, %v", a, b, c)
	}
}

func TestVolumesAreHeldMeanwhile(t *testing.T) {
	s := newStage(t, nil)
	id := s.disks(1)[0]
	set := s.prepared(id)
	all := map[string]func() error{
		"resize":   func() error { return s.Volumes.Resize(t.Context(), id, nil, volume.ResizeRequest{Size: 2 << 20}) },
		"convert":  func() error { return s.Volumes.Convert(t.Context(), id, nil, volume.QCOW2, nil) },
		"destroy":  func() error { return s.Volumes.Destroy(t.Context(), id, nil, true) },
		"transfer": func() error { return s.Volumes.Transfer(t.Context(), id, nil, bob) },
		"export": func() error {
			_, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: client(3)})
			return err
		},
		"export again": func() error {
			_, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: alice})
			return err
		},
		"unexport": func() error { return s.exports.Unexport(t.Context(), id, alice, "", false) },
	}
	for name, call := range all {
		if err := call(); !fault.Is(err, fault.VolumeMigrating) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := s.Revert(t.Context(), Ref{ID: set.ID}, false)
	s.must(err)
	for _, name := range []string{"resize", "transfer", "export again"} {
		if err := all[name](); err != nil {
			t.Errorf("%s after the migration: %v", name, err)
		}
	}
}

// TestTheSourceIsWaitedFor: the destination's first write waits for what the source is writing, and one that goes away leaves the pen.
func TestTheSourceIsWaitedFor(t *testing.T) {
	s := newStage(t, nil)
	rec := s.prepared(s.disks(2)...).Record
	s.arrive(rec)
	end := s.at(rec, 1, Source).begin(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if s.at(rec, 0, Destination).write(ctx) {
		t.Error("the destination wrote while the source did")
	}
	s.wantWriter(rec, Source)
	wrote := make(chan bool)
	go func() { wrote <- s.at(rec, 0, Destination).write(t.Context()) }()
	until(t, func() bool { // the pen is on its way
		if s.at(rec, 0, Source).gate.Try() {
			s.at(rec, 0, Source).gate.Leave()
			return false
		}
		return true
	})
	if now, _ := s.Get(Ref{ID: rec.ID}); now.Pen != Source {
		t.Error("the pen moved before the source was done")
	}
	end()
	if !<-wrote {
		t.Error("the destination was refused")
	}
	s.wantWriter(rec, Destination)
}

// TestFencingThatTakesTime: what is not proven is told, and the same call again, or the job, ends it.
func TestFencingThatTakesTime(t *testing.T) {
	for name, forward := range map[string]bool{"conclude": true, "revert": false} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			rec := s.prepared(s.disks(2)...).Record
			s.arrive(rec)
			if forward && !s.at(rec, 0, Destination).write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			s.toy.failOn("remove", errors.New("its disk hangs"))
			decide := func() (Info, error) {
				if forward {
					return s.Conclude(t.Context(), Ref{ID: rec.ID}, false)
				}
				return s.Revert(t.Context(), Ref{ID: rec.ID}, false)
			}
			for range 2 {
				now, err := decide()
				if err != nil || now.State == Stable || now.Waiting == "" {
					t.Errorf("%+v, %v", now, err)
				}
			}
			stays := Source
			if forward {
				stays = Destination
			}
			for i := range rec.Parts {
				if !s.at(rec, i, stays).write(t.Context()) {
					t.Errorf("the side that stays can't write to %d", i)
				}
			}
			_, err := s.Prepare(t.Context(), Request{Volumes: rec.Volumes(), Source: Party{Client: alice}, Destination: Party{Client: bob}})
			wantCode(t, err, fault.VolumeMigrating)
			s.toy.failOn("remove", nil)
			s.goOn(t.Context(), time.Now())
			s.jobs.Wait()
			if now, err := s.Get(Ref{ID: rec.ID}); err != nil || now.State != Stable || now.Waiting != "" {
				t.Errorf("%+v, %v", now, err)
			}
			s.wantOwner(rec, map[Side]volume.Client{Source: alice, Destination: bob}[stays])
		})
	}
}

func TestCrossingCalls(t *testing.T) {
	for range 20 {
		s := newStage(t, nil)
		rec := s.prepared(s.disks(1)...).Record
		s.arrive(rec)
		var calls sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			calls.Go(func() {
				if i%2 == 0 {
					_, errs[i] = s.Conclude(t.Context(), Ref{ID: rec.ID}, false)
				} else {
					_, errs[i] = s.Revert(t.Context(), Ref{ID: rec.ID}, false)
				}
			})
		}
		calls.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || (errs[0] == nil) != (errs[2] == nil) || (errs[1] == nil) != (errs[3] == nil) {
			t.Errorf("%v", errs)
		}
	}
}

func TestBothPrepareAtOnce(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(2)
	var calls sync.WaitGroup
	sets, errs := make([]*Set, 6), make([]error, 6)
	for i := range sets {
		calls.Go(func() {
			sets[i], errs[i] = s.Prepare(t.Context(), Request{Volumes: ids, Source: Party{Client: alice}, Destination: Party{Client: client(byte(2 + i%2))}})
		})
	}
	calls.Wait()
	won := volume.ID{}
	for i := range sets {
		switch {
		case errs[i] != nil:
			wantCode(t, errs[i], fault.VolumeMigrating)
		case !won.IsZero() && won != sets[i].ID:
			t.Error("two were prepared")
		default:
			won = sets[i].ID
		}
	}
	if won.IsZero() || len(s.List(nil)) != 1 {
		t.Errorf("%v", s.List(nil))
	}
}

func TestDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		came  func(s *stage, rec Record)
		stays bool
	}{
		"nobody came":      {func(*stage, Record) {}, false},
		"somebody is here": {func(s *stage, rec Record) { s.at(rec, 1, Destination).login() }, true},
		"somebody was here": {func(s *stage, rec Record) {
			s.at(rec, 1, Destination).login()
			s.loggedIn(s.t.Context(), rec.Parts[1].Destination)
			s.at(rec, 1, Destination).logout()
			s.restart()
		}, true},
		"somebody wrote": {func(s *stage, rec Record) {
			s.at(rec, 0, Destination).login()
			s.at(rec, 0, Destination).write(s.t.Context())
			s.restart()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			rec := s.prepared(s.disks(2)...).Record
			tt.came(s, rec)
			look := func(now time.Time) Info {
				s.goOn(t.Context(), now)
				s.jobs.Wait()
				info, err := s.Get(Ref{ID: rec.ID})
				s.must(err)
				return info
			}
			if now := look(rec.Deadline); now.State != Prepared || now.Alarm != "" {
				t.Errorf("before the deadline: %+v", now)
			}
			now := look(rec.Deadline.Add(time.Second))
			if !tt.stays {
				if now.State != Stable || now.Owner != Source {
					t.Errorf("%+v", now)
				}
				s.wantOwner(rec, alice)
				s.goOn(t.Context(), now.Ended.Add(25*time.Hour))
				s.jobs.Wait()
				if _, err := s.Get(Ref{ID: rec.ID}); !fault.Is(err, fault.MigrationNotFound) || len(s.journals()) != 0 {
					t.Errorf("it is remembered: %v, %v", err, s.journals())
				}
				return
			}
			if now.State != Prepared || now.Alarm == "" {
				t.Errorf("%+v", now)
			}
			_, err := s.Conclude(t.Context(), Ref{ID: rec.ID}, true)
			s.must(err)
			s.wantOwner(rec, bob)
		})
	}
}

func TestRunNotesLoginsAndGoesOn(t *testing.T) {
	s := newStage(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { s.Run(ctx) })
	defer run.Wait()
	defer stop()
	ids := s.disks(1)
	events := s.Events.Subscribe(0)
	defer events.Close()
	rec := s.prepared(ids...).Record
	// Run subscribes when it likes: a destination that has logged in comes again.
	until(t, func() bool {
		s.at(rec, 0, Destination).login()
		now, err := s.Get(Ref{ID: rec.ID})
		return err == nil && now.LoggedIn
	})
	s.toy.failOn("remove", errors.New("its disk hangs"))
	if now, err := s.Conclude(t.Context(), Ref{ID: rec.ID}, false); err != nil || now.State != Concluding {
		t.Errorf("%+v %v", now, err)
	}
	s.toy.failOn("remove", nil)
	until(t, func() bool { now, err := s.Get(Ref{ID: rec.ID}); return err == nil && now.State == Stable })
	var states []string
	for len(states) == 0 || states[len(states)-1] != "STABLE destination" {
		if e := <-events.C; e.Type == volume.EventMigration && e.Migration.ID == rec.ID && *e.Owner == alice {
			if text := e.Migration.State + " " + e.Migration.Pen; len(states) == 0 || states[len(states)-1] != text {
				states = append(states, text)
			}
		}
	}
	if want := []string{"PREPARED source", "CONCLUDING destination", "STABLE destination"}; !reflect.DeepEqual(states, want) {
		t.Errorf("events %q", states)
	}
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it never happened")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestLostJournal: what the records name and nobody knows is nobody's to write to, until an operator says whose it is.
func TestLostJournal(t *testing.T) {
	for name, tt := range map[string]struct {
		lose  func(file string) error
		owner Side
	}{
		"gone, to the source":         {os.Remove, Source},
		"gone, to the destination":    {os.Remove, Destination},
		"damaged, to the destination": {func(file string) error { return os.WriteFile(file, []byte("{"), 0o600) }, Destination},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			rec := s.prepared(s.disks(2)...).Record
			s.end()
			s.must(tt.lose(s.journals()[0]))
			s.start()
			s.arrive(rec)
			s.wantWriter(rec, "")
			now, err := s.Get(Ref{Volumes: rec.Volumes()})
			if err != nil || now.ID != rec.ID || now.State != NeedsOperator || now.Alarm == "" {
				t.Errorf("%+v, %v", now, err)
			}
			_, err = s.Conclude(t.Context(), Ref{ID: rec.ID}, true)
			wantCode(t, err, fault.MigrationState)
			_, err = s.Resolve(t.Context(), Ref{ID: rec.ID}, "both")
			wantCode(t, err, fault.BadRequest)
			s.restart()
			s.wantWriter(rec, "")
			_, err = s.Resolve(t.Context(), Ref{ID: rec.ID}, tt.owner)
			s.must(err)
			s.wantWriter(rec, tt.owner)
			s.wantOwner(rec, map[Side]volume.Client{Source: alice, Destination: bob}[tt.owner])
		})
	}
}

// TestTheOwnerToBeIsGone: nothing is taken from the other side before an operator has said so.
func TestTheOwnerToBeIsGone(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(1)
	rec := s.prepared(ids...).Record
	s.end()
	s.must(os.Remove(filepath.Join(s.root, "pool", "vid."+ids[0].String()+".elimg", ".export", "exports.json")))
	s.start()
	now, err := s.Conclude(t.Context(), Ref{ID: rec.ID}, true)
	if err != nil || now.State != NeedsOperator || now.Alarm == "" {
		t.Errorf("%+v, %v", now, err)
	}
	wantCode(t, s.Held(ids[0]), fault.VolumeMigrating)
	if now, err = s.Resolve(t.Context(), Ref{ID: rec.ID}, Source); err != nil || now.State != Stable {
		t.Errorf("%+v, %v", now, err)
	}
	if list := s.exports.List(t.Context(), export.Query{}); len(list) != 0 || s.Held(ids[0]) != nil {
		t.Errorf("%+v", list)
	}
}

// TestAVolumeVanishes between prepare and the end: the rest of the set goes where it was decided.
func TestAVolumeVanishes(t *testing.T) {
	for name, forward := range map[string]bool{"conclude": true, "revert": false} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			ids := s.disks(2)
			rec := s.prepared(ids...).Record
			s.arrive(rec)
			s.must(os.RemoveAll(filepath.Join(s.root, "pool", "vid."+ids[1].String()+".elimg")))
			_, _, err := s.Volumes.Refresh(t.Context(), "pool")
			s.must(err)
			want, side := alice, Source
			if forward {
				want, side = bob, Destination
				_, err = s.Conclude(t.Context(), Ref{ID: rec.ID}, false)
			} else {
				_, err = s.Revert(t.Context(), Ref{ID: rec.ID}, false)
			}
			s.must(err)
			if s.at(rec, 1, Source) != nil || s.at(rec, 1, Destination) != nil {
				t.Error("what is not there is exported still")
			}
			rec.Parts = rec.Parts[:1]
			s.wantWriter(rec, side)
			s.wantOwner(rec, want)
		})
	}
}

package livemigration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// trap stops a process at one of its writes to the journal, before or after it.
type trap struct {
	mu   sync.Mutex
	left int  // asks until it snaps; below 0 never
	kill bool // the process ends there, else the write fails
	sprung,
	dead bool
}

var errTrap = errors.New("no space left on device")

func (p *trap) set(left int, kill bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.kill, p.sprung, p.dead = left, kill, false, false
}

// step is Config.step.
func (p *trap) step(string, *Record) error {
	p.mu.Lock()
	snap := p.left == 0
	p.left--
	if snap {
		p.sprung, p.dead = true, p.kill
	}
	dead := p.dead
	p.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
	if snap {
		return errTrap
	}
	return nil
}

func (p *trap) snapped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sprung
}

// disarm lets nothing snap any more, and reports whether the process was killed: a machine's write can be what does it, too.
func (p *trap) disarm() (killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = -1
	return p.dead
}

// dies runs a part of a process, and reports whether it was killed in it.
func (p *trap) dies(do func()) bool {
	ended := make(chan struct{})
	go func() { defer close(ended); do() }()
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// story is the life of a migration, in steps that a caller may repeat.
type story struct {
	*stage
	ids     []volume.ID
	id      volume.ID // of the migration, once it was answered
	wrote   bool      // the destination's write was acknowledged
	decided Side      // for which a call was answered
}

func (s *story) steps(owner Side) []func() error {
	return []func() error{
		func() error {
			set, err := s.Prepare(s.t.Context(), Request{Volumes: s.ids, Source: Party{Client: alice}, Destination: Party{Client: bob}})
			if err == nil {
				s.id = set.ID
			}
			return err
		},
		func() error {
			rec := s.record()
			s.arrive(rec)
			s.loggedIn(s.t.Context(), rec.Parts[0].Destination)
			return nil
		},
		func() error {
			if !s.at(s.record(), 0, Destination).write(s.t.Context()) {
				return errTrap
			}
			s.wrote = true
			return nil
		},
		func() (err error) {
			if owner == Destination {
				_, err = s.Conclude(s.t.Context(), Ref{ID: s.id}, true)
			} else {
				_, err = s.Revert(s.t.Context(), Ref{ID: s.id}, true)
			}
			if err == nil {
				s.decided = owner
			}
			return err
		},
	}
}

func (s *story) record() Record {
	s.t.Helper()
	now, err := s.Get(Ref{ID: s.id})
	s.must(err)
	return now.Record
}

// check holds what stands against what was answered.
func (s *story) check() {
	s.t.Helper()
	if s.id.IsZero() {
		for _, i := range s.List(nil) { // it was never answered
			if i.State == Prepared {
				s.id = i.ID
			}
		}
	}
	if s.id.IsZero() {
		for _, id := range s.ids {
			s.wantOwner(Record{Parts: []Part{{Volume: id}}}, alice)
		}
		return
	}
	rec := s.record()
	switch {
	case s.decided != "" && (rec.State != Stable || rec.Owner != s.decided):
		s.t.Fatalf("%s was answered, and it is %v", s.decided, rec.Status)
	case s.wrote && rec.Open() && rec.Pen != Destination:
		s.t.Fatalf("the destination wrote, and it is %v", rec.Status)
	}
	switch rec.State {
	case Prepared:
		s.arrive(rec)
		if rec.Pen == Destination {
			s.wantWriter(rec, Destination)
		} else {
			s.wantWriter(rec, Source)
		}
	case Stable:
		s.wantOwner(rec, map[Side]volume.Client{Source: alice, Destination: bob}[rec.Owner])
		s.wantWriter(rec, rec.Owner)
	default:
		s.t.Fatalf("it is %v", rec.Status)
	}
}

// TestKilledAtEveryWrite kills the server at every moment at which the journal is about to be written or just was, and starts it again.
func TestKilledAtEveryWrite(t *testing.T) {
	for _, owner := range []Side{Destination, Source} {
		for n := 0; ; n++ {
			snapped := false
			t.Run(fmt.Sprintf("%s %d", owner, n), func(t *testing.T) {
				p := &trap{left: -1}
				s := &story{stage: newStage(t, func(c *Config) { c.step = p.step })}
				s.ids = s.disks(2)
				p.set(n, true)
				killed := -1
				for i, step := range s.steps(owner) {
					if p.dies(func() {
						if err := step(); err != nil {
							t.Errorf("step %d: %v", i, err)
						}
					}) {
						killed = i
						break
					}
				}
				snapped = p.snapped()
				p.set(-1, false)
				s.restart()
				s.check()
				if killed < 0 {
					return
				}
				// Whoever calls goes on where it was.
				for i, step := range s.steps(owner)[killed:] {
					if err := step(); err != nil && (killed != 3 || i > 0 || !fault.Is(err, fault.MigrationState)) {
						t.Fatalf("step %d after the restart: %v", killed+i, err)
					}
				}
				s.check()
				s.restart()
				s.check()
			})
			if !snapped {
				if n < 8 {
					t.Errorf("the journal was asked %d times only", n)
				}
				break
			}
		}
	}
}

// TestEveryWriteFails lets each write of the journal fail once, before or after it, as a full disk does: a call fails and has no effect, or
// goes on later, and the same call again succeeds.
func TestEveryWriteFails(t *testing.T) {
	for _, owner := range []Side{Destination, Source} {
		for n := 0; ; n++ {
			snapped := false
			t.Run(fmt.Sprintf("%s %d", owner, n), func(t *testing.T) {
				p := &trap{left: -1}
				s := &story{stage: newStage(t, func(c *Config) { c.step = p.step })}
				s.ids = s.disks(2)
				p.set(n, false)
				for i, step := range s.steps(owner) {
					err := step()
					if err != nil {
						if !errors.Is(err, errTrap) {
							t.Errorf("step %d: %v", i, err)
						}
						if i < 3 {
							s.check()
						}
						err = step()
					}
					if err != nil {
						t.Fatalf("step %d again: %v", i, err)
					}
					if i == 3 && s.record().State != Stable {
						err = step() // it waits for what went wrong the last time
						s.must(err)
					}
				}
				snapped = p.snapped()
				s.check()
				s.restart()
				s.check()
			})
			if !snapped {
				break
			}
		}
	}
}

// TestAdmissionFails: what can't be prepared whole is not prepared at all.
func TestAdmissionFails(t *testing.T) {
	s := newStage(t, nil)
	ids := s.disks(2)
	s.toy.failOn("attach", errTrap)
	_, err := s.Prepare(t.Context(), Request{Volumes: ids, Source: Party{Client: alice}, Destination: Party{Client: bob}})
	if !errors.Is(err, errTrap) || len(s.List(nil)) != 0 || len(s.journals()) != 0 {
		t.Errorf("%v; left are %v, %v", err, s.List(nil), s.journals())
	}
	s.toy.failOn("attach", nil)
	rec := s.prepared(ids...).Record
	s.toy.failOn("succeed", errTrap)
	s.arrive(rec)
	if s.at(rec, 0, Destination).write(t.Context()) {
		t.Error("the destination writes without what the source had reserved")
	}
	s.toy.failOn("succeed", nil)
	s.wantWriter(rec, Destination)
}

// TestRandomLives does all that can be done to a migration in any order, while both machines write as fast as they can.
func TestRandomLives(t *testing.T) {
	lives := uint64(20)
	if testing.Short() {
		lives = 8
	}
	for seed := range lives {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomLife(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func randomLife(t *testing.T, rnd *rand.Rand) {
	p := &trap{left: -1}
	s := &story{stage: newStage(t, func(c *Config) { c.step = p.step })}
	s.ids = s.disks(2)
	owner, other := alice, bob
	fenced := []*toyAttached{}
	var last Record
	for step := range 25 {
		var rec Record
		for _, i := range s.List(nil) {
			rec = i.Record
		}
		// Machines that write meanwhile.
		var writers sync.WaitGroup
		stop := make(chan struct{})
		for _, side := range []Side{Source, Destination} {
			if !rec.Open() || rnd.IntN(3) == 0 {
				continue
			}
			a := s.at(rec, rnd.IntN(2), side)
			if a == nil {
				continue
			}
			writers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if !a.write(t.Context()) {
							runtime.Gosched()
						}
					}
				}
			})
		}
		if rnd.IntN(3) == 0 {
			p.set(rnd.IntN(4), rnd.IntN(2) == 0)
		}
		what := rnd.IntN(8)
		p.dies(func() {
			ctx := t.Context()
			switch what {
			case 0, 1:
				_, _ = s.Prepare(ctx, Request{Volumes: s.ids, Source: Party{Client: owner}, Destination: Party{Client: other}})
			case 2:
				_, _ = s.Conclude(ctx, Ref{Volumes: s.ids}, rnd.IntN(2) == 0)
			case 3:
				_, _ = s.Revert(ctx, Ref{Volumes: s.ids}, rnd.IntN(2) == 0)
			case 4, 5:
				if a := s.at2(rec, Destination); a != nil && a.login() {
					s.loggedIn(ctx, a.rec.ID)
				}
			case 6:
				if a := s.at2(rec, Destination); a != nil {
					a.logout()
				}
			case 7:
				s.goOn(ctx, rec.Deadline.Add(1))
				s.jobs.Wait()
			}
		})
		if rec.Open() {
			for i := range rec.Parts {
				for _, side := range []Side{Source, Destination} {
					if a := s.at(rec, i, side); a != nil {
						fenced = append(fenced, a)
					}
				}
			}
		}
		close(stop)
		killed := p.disarm()
		if killed || rnd.IntN(6) == 0 {
			s.kill()
			writers.Wait()
			p.set(-1, false)
			s.restart()
		}
		writers.Wait()
		p.set(-1, false)
		for began := time.Now(); ; { // what is still to be fenced may take more than one wait for it
			s.goOn(t.Context(), rec.Began)
			s.jobs.Wait()
			last = Record{}
			for _, i := range s.List(nil) {
				last = i.Record
			}
			if last.State != Concluding && last.State != Reverting || time.Since(began) > 30*time.Second {
				break
			}
		}
		if last.State == Stable && last.Owner == Destination {
			owner, other = last.Destination.Client, last.Source.Client
		} else if last.State == Stable {
			owner, other = last.Source.Client, last.Destination.Client
		}
		s.invariants(last, owner)
		for _, a := range fenced {
			if s.toy.get(a.unit.id, a.rec.ID) != a && (a.login() || a.write(t.Context())) {
				t.Fatalf("step %d: who was fenced gets in still", step)
			}
		}
		if t.Failed() {
			t.Fatalf("step %d was %d, killed %t, and left %v", step, what, killed, last.Status)
		}
	}
}

// at2 is at for a migration that may not be.
func (s *story) at2(rec Record, side Side) *toyAttached {
	if len(rec.Parts) == 0 {
		return nil
	}
	return s.at(rec, 0, side)
}

// kill ends what the machines have under way, as the end of the process does.
func (s *story) kill() {
	s.toy.mu.Lock()
	defer s.toy.mu.Unlock()
	for _, u := range s.toy.units {
		for _, a := range u.attached {
			a.gone = true
			a.kill()
		}
	}
}

// invariants are those of the design.
func (s *story) invariants(rec Record, owner volume.Client) {
	s.t.Helper()
	for _, id := range s.ids {
		list := s.exports.List(s.t.Context(), export.Query{Volume: &id})
		free := 0
		for _, i := range list {
			switch i.Record.Migration {
			case "":
				free++
			case rec.ID.String():
			default:
				s.t.Errorf("an attachment is of the migration %s, which is not open", i.Record.Migration)
			}
		}
		switch {
		case rec.Open() && (rec.State != Prepared || len(list) != 2 || free != 0):
			s.t.Errorf("%v, and volume %s has %d attachments, %d of them without a migration", rec.Status, id, len(list), free)
		case !rec.Open() && (len(list) != 1 || free != 1 || list[0].Record.Client != owner):
			s.t.Errorf("%v of %s, and volume %s has %+v", rec.Status, owner, id, list)
		}
	}
	if rec.State == Prepared && rec.Pen == Destination {
		for i := range rec.Parts {
			if s.at(rec, i, Source).write(s.t.Context()) {
				s.t.Error("the source writes without the pen")
			}
		}
	}
}

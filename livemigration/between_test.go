package livemigration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"elstore/export"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// duo is two servers on one pool that they share: one exports alice's volumes, the machine moves to two.
type duo struct {
	t        testing.TB
	root     string
	ring     *ring
	one, two *stage
	stops    map[*stage]func()
}

func newDuo(t testing.TB, steps map[Side]func(op string, r *Record) error) *duo {
	t.Helper()
	d := &duo{t: t, stops: map[*stage]func(){}, root: t.TempDir(), ring: newRing()}
	rig.Pool(t, d.root, "pool", `{"shared": true}`)
	d.one, d.two = d.server(steps[Source]), d.server(steps[Destination])
	return d
}

// server starts one more server on the pool.
func (d *duo) server(step func(op string, r *Record) error) *stage {
	d.t.Helper()
	s := &stage{t: d.t, root: d.root, state: d.t.TempDir(), id: volume.NewID().String(), ring: d.ring, shared: true, change: func(c *Config) {
		c.look, c.step = 5*time.Millisecond, step
	}}
	s.start()
	d.run(s)
	return s
}

// run does what a server's process does by itself.
func (d *duo) run(s *stage) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	exports := s.exports
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				exports.Beat(ctx)
				if n%10 == 0 {
					exports.Reconcile(ctx)
				}
			}
		}
	}()
	live := s.Service
	live.jobs.Go(func() { live.runBetween(ctx) })
	d.stops[s] = func() { cancel(); <-done; live.jobs.Wait() }
	d.t.Cleanup(d.stops[s])
}

// crash ends a server, as far as anybody sees as a crash does, and starts it again.
func (d *duo) crash(s *stage) {
	d.t.Helper()
	d.stops[s]()
	s.restart()
	d.run(s)
}

// disks makes volumes that alice has exported through one, and that two knows of.
func (d *duo) disks(n int) []volume.ID {
	d.t.Helper()
	ids := d.one.disks(n)
	_, _, err := d.two.Volumes.Refresh(d.t.Context(), "pool")
	d.one.must(err)
	return ids
}

// eventually waits until wrong says nothing.
func (d *duo) eventually(wrong func() string) {
	d.t.Helper()
	deadline := time.After(60 * time.Second)
	for text := wrong(); text != ""; text = wrong() {
		select {
		case <-deadline:
			d.t.Fatal(text)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// ends waits until both servers say that a migration is over, and whose it is.
func (d *duo) ends(id volume.ID, owner Side) {
	d.t.Helper()
	for _, s := range []*stage{d.one, d.two} {
		d.eventually(func() string {
			now, err := s.Get(Ref{ID: id})
			if fault.Is(err, fault.MigrationNotFound) && owner == Source {
				return "" // it never was
			}
			if err != nil {
				return err.Error()
			}
			if now.State != Stable || now.Owner != owner {
				return fmt.Sprintf("it is %v on the %s's server, waiting for %q", now.Status, now.Here, now.Waiting)
			}
			return ""
		})
	}
}

// writes waits until a side's machine can write to all volumes. It logs in where it isn't.
func (d *duo) writes(ids []volume.ID, client volume.Client, s *stage) {
	d.t.Helper()
	for _, id := range ids {
		d.eventually(func() string {
			for _, i := range s.exports.List(d.t.Context(), export.Query{Volume: &id, Client: &client}) {
				ctx, cancel := context.WithTimeout(d.t.Context(), time.Second)
				defer cancel()
				if a := s.toy.get(id, i.Record.ID); a != nil && a.login() && a.write(ctx) {
					return ""
				}
			}
			return fmt.Sprintf("client %s can't write to volume %s", client, id)
		})
	}
}

func (d *duo) request(ids []volume.ID) Request {
	return Request{Volumes: ids, Source: Party{Client: alice}, Destination: Party{Client: bob}}
}

func TestMoveBetweenServers(t *testing.T) {
	for _, to := range []volume.Client{alice, bob} {
		t.Run(to.String(), func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			q := d.request(ids)
			q.Destination.Client = to
			set, err := d.two.Prepare(t.Context(), q)
			d.one.must(err)
			again, err := d.two.Prepare(t.Context(), q)
			d.one.must(err)
			if set.Here != Destination || set.Peer != d.one.id || again.ID != set.ID || again.Access[0].URI != set.Access[0].URI {
				t.Errorf("%+v, and then %+v", set, again)
			}
			d.two.arrive(set.Record)
			source := func(i int) *toyAttached { return d.one.at(set.Record, i, Source) }
			for i := range ids {
				if !source(i).login() || !source(i).write(t.Context()) {
					t.Fatal("the source can't write, and has the pen")
				}
			}
			_, err = d.one.Conclude(t.Context(), Ref{ID: set.ID}, true)
			wantCode(t, err, fault.MigrationState)
			old := source(0)
			if !d.two.at(set.Record, 0, Destination).write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			if old.write(t.Context()) {
				t.Error("the source writes without the pen")
			}
			_, err = d.one.Revert(t.Context(), Ref{ID: set.ID}, true)
			wantCode(t, err, fault.MigrationState)
			d.crash(d.one)
			d.crash(d.two)
			_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, true)
			d.one.must(err)
			d.ends(set.ID, Destination)
			d.writes(ids, to, d.two)
			d.two.wantOwner(set.Record, to)
			d.crash(d.one)
			if list := d.one.exports.List(t.Context(), export.Query{}); len(list) != 0 {
				t.Errorf("the first server exports %+v", list)
			}
			for _, id := range ids {
				if data, err := d.two.exports.Notes(t.Context(), id, export.WishNote); len(data) != 0 || err != nil {
					t.Errorf("left are the wishes %s, %v", data, err)
				}
			}
			// And back again.
			_, err = d.one.Prepare(t.Context(), Request{Volumes: ids, Source: Party{Client: to}, Destination: Party{Client: alice}})
			d.one.must(err)
			_, err = d.one.Conclude(t.Context(), Ref{Volumes: ids}, true)
			d.one.must(err)
			d.writes(ids, alice, d.one)
		})
	}
}

func TestRevertBetweenServers(t *testing.T) {
	tests := map[string]struct {
		wrote bool
		at    func(d *duo) *stage
	}{
		"at the source's server":                             {at: func(d *duo) *stage { return d.one }},
		"at the destination's server":                        {at: func(d *duo) *stage { return d.two }},
		"at the destination's server, after its first write": {wrote: true, at: func(d *duo) *stage { return d.two }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			d.two.arrive(set.Record)
			there := d.two.at(set.Record, 0, Destination)
			if tt.wrote && !there.write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			if tt.wrote {
				_, err = tt.at(d).Revert(t.Context(), Ref{ID: set.ID}, false)
				wantCode(t, err, fault.MigrationState)
			}
			_, err = tt.at(d).Revert(t.Context(), Ref{ID: set.ID}, tt.wrote)
			d.one.must(err)
			d.ends(set.ID, Source)
			d.writes(ids, alice, d.one)
			if there.write(t.Context()) {
				t.Error("the destination writes after it was reverted")
			}
			d.one.wantOwner(set.Record, alice)
		})
	}
}

// What the source's server refuses its destination's says, and nothing is left.
func TestRefusedBetweenServers(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	q := d.request(ids)
	q.Destination.Initiator = "bad"
	_, err := d.two.Prepare(t.Context(), q)
	wantCode(t, err, fault.BadRequest)
	if len(d.two.List(nil)) != 0 || len(d.two.journals()) != 0 {
		t.Errorf("left are %v, %v", d.two.List(nil), d.two.journals())
	}
	d.writes(ids, alice, d.one)
	_, err = d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
}

// A destination that never came is taken back when its time has passed.
func TestDeadlineBetweenServers(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	late := set.Deadline.Add(time.Second)
	d.one.goOn(t.Context(), late)
	d.two.goOn(t.Context(), late)
	d.ends(set.ID, Source)
	d.writes(ids, alice, d.one)
}

// TestKilledAtEveryWriteBetweenServers kills either server at every moment at which its journal is about to be written or just was: who
// calls repeats what was not answered, and it ends as if nothing had happened.
func TestKilledAtEveryWriteBetweenServers(t *testing.T) {
	for _, victim := range []Side{Source, Destination} {
		for _, owner := range []Side{Destination, Source} {
			for n := 0; ; n++ {
				snapped := false
				t.Run(fmt.Sprintf("the %s's server, %s, %d", victim, owner, n), func(t *testing.T) {
					p := &trap{left: -1}
					d := newDuo(t, map[Side]func(string, *Record) error{victim: p.step})
					killed := d.live(p, owner, n, map[Side]*stage{Source: d.one, Destination: d.two}[victim])
					snapped = killed || p.snapped()
				})
				if !snapped {
					if n < 6 {
						t.Errorf("the journal was asked %d times only", n)
					}
					break
				}
			}
		}
	}
}

// live lives a whole migration, in which the victim is killed at the nth ask of its journal.
func (d *duo) live(p *trap, owner Side, n int, victim *stage) (killed bool) {
	ids := d.disks(2)
	p.set(n, true)
	revive := func() {
		if p.disarm() {
			killed = true
			p.set(-1, false)
			d.crash(victim)
		}
	}
	// call calls until it succeeds: whoever calls does so again.
	call := func(what string, do func() error) {
		d.t.Helper()
		d.eventually(func() string {
			err := errors.New("it did not return")
			ended := make(chan struct{})
			go func() { defer close(ended); err = do() }()
			for alive := true; alive; {
				select {
				case <-ended:
					alive = false
				case <-time.After(time.Millisecond):
				}
				p.mu.Lock()
				dead := p.dead
				p.mu.Unlock()
				if dead && victim == d.one { // its own calls end by themselves
					revive()
				}
			}
			p.mu.Lock()
			dead := p.dead
			p.mu.Unlock()
			if dead {
				revive()
			}
			if err != nil {
				if os.Getenv("STAGE_LOG") != "" {
					d.t.Logf("%s: %v", what, err)
				}
				return fmt.Sprintf("%s: %v", what, err)
			}
			return ""
		})
	}
	var set *Set
	call("prepare", func() (err error) { set, err = d.two.Prepare(d.t.Context(), d.request(ids)); return err })
	call("write", func() error {
		ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Second)
		defer cancel()
		for i := range ids {
			a := d.two.at(set.Record, i, Destination)
			if a == nil || !a.login() || !a.write(ctx) {
				return fmt.Errorf("the destination can't write to volume %d", i)
			}
		}
		return nil
	})
	call("decide", func() (err error) {
		if owner == Destination {
			_, err = d.two.Conclude(d.t.Context(), Ref{ID: set.ID}, true)
		} else {
			_, err = d.two.Revert(d.t.Context(), Ref{ID: set.ID}, true)
		}
		return err
	})
	d.eventually(func() string {
		revive()
		return ""
	})
	if owner == Destination {
		d.ends(set.ID, Destination)
		d.writes(ids, bob, d.two)
	} else {
		d.ends(set.ID, Source)
		d.writes(ids, alice, d.one)
	}
	return killed
}

// A volume that was passed, and not taken yet, is looked at again: it is taken, or read as before, but nothing between.
func TestRevisitWhatWasPassed(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	d.stops[d.two]()
	d.one.must(d.two.wish(t.Context(), &set.Record, wishPen))
	d.eventually(func() string {
		if b, err := d.one.exports.Book(t.Context(), ids[0]); err != nil || !b.Passed() || len(d.one.exports.Standing(ids[0])) > 0 {
			return "the pen is not passed"
		}
		return ""
	})
	d.two.exports.Revisit(t.Context(), ids[0])
	a := d.two.at(set.Record, 0, Destination)
	if _, err := a.unit.device.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Errorf("it is not taken: %v", err)
	}
	if a.login(); d.two.exports.OpenGate(ids[0], a.rec.ID, "another") {
		t.Error("its gate opens for another migration")
	}
	d.run(d.two)
	if !a.write(t.Context()) {
		t.Error("the destination can't write")
	}
}

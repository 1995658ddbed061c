package livemigration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// loses ends a server, removes its journal, and starts it again.
func (d *duo) loses(s *stage) {
	d.t.Helper()
	d.stops[s]()
	s.end()
	d.one.must(os.RemoveAll(filepath.Join(s.state, journalDir)))
	s.start()
	d.run(s)
}

// passes has the source's server give the pen away, which the destination's does not take.
func (d *duo) passes(rec *Record) {
	d.t.Helper()
	d.stops[d.two]()
	d.one.must(d.two.wish(d.t.Context(), rec, wishPen))
	d.eventually(func() string {
		for _, p := range rec.Parts {
			if b, err := d.one.exports.Book(d.t.Context(), p.Volume); err != nil || !b.Passed() || len(d.one.exports.Standing(p.Volume)) > 0 {
				return "the pen is not passed"
			}
		}
		return ""
	})
}

// A server lost its journal with a migration open: nothing writes through it before an operator has said which side has the machine, and then
// both servers come to that.
func TestLostJournalBetweenServers(t *testing.T) {
	for _, loser := range []Side{Destination, Source} {
		for _, pen := range []string{"source", "passed", "destination"} {
			for _, owner := range []Side{Destination, Source} {
				if loser == Source && pen != "source" {
					continue // it has nothing to do with it any more: see TestSourceForgetsWhatItPassed
				}
				t.Run(fmt.Sprintf("the %s's, pen %s, to the %s", loser, pen, owner), func(t *testing.T) {
					d := newDuo(t, nil)
					ids := d.disks(3)
					set, err := d.two.Prepare(t.Context(), d.request(ids))
					d.one.must(err)
					d.two.arrive(set.Record)
					switch pen {
					case "passed":
						d.passes(&set.Record)
						d.run(d.two)
					case "destination":
						if !d.two.at(set.Record, 0, Destination).write(t.Context()) {
							t.Fatal("the destination can't write")
						}
					}
					s := d.one
					if loser == Destination {
						s = d.two
					}
					d.loses(s)
					now, err := s.Get(Ref{ID: set.ID})
					if err != nil || now.State != NeedsOperator || now.Here != loser || len(now.Parts) != 3 || now.first() != set.first() {
						t.Fatalf("%+v, %v", now.Record, err)
					}
					for i, p := range set.Parts {
						if got := now.Parts[i]; got != p {
							t.Errorf("part %d is %+v, and was %+v", i, got, p)
						}
						a := s.at(set.Record, i, loser)
						if a == nil || !a.login() {
							t.Errorf("volume %d can't be read", i)
						} else if a.write(t.Context()) {
							t.Errorf("volume %d is written to", i)
						}
						wantCode(t, s.Held(p.Volume), fault.VolumeMigrating)
					}
					if loser == Destination && pen == "source" {
						for i := range ids {
							if !d.one.at(set.Record, i, Source).write(t.Context()) {
								t.Errorf("the source can't write to volume %d, and has the pen", i)
							}
						}
					}
					d.eventually(func() string {
						_, err := s.Resolve(t.Context(), Ref{ID: set.ID}, owner)
						return text(err)
					})
					if loser == Source && owner == Destination { // which can't have them without the pen: then nobody has
						d.eventually(func() string {
							if now, err := d.two.Get(Ref{ID: set.ID}); err != nil || now.State != Stable {
								return fmt.Sprintf("%+v, %v", now.Record, err)
							}
							return ""
						})
						for _, id := range ids {
							_, err := d.two.exports.Export(t.Context(), export.Request{Volume: id, Client: bob})
							d.one.must(err)
						}
						d.writes(ids, bob, d.two)
						return
					}
					d.ends(set.ID, owner)
					if owner == Source {
						d.writes(ids, alice, d.one)
					} else {
						d.writes(ids, bob, d.two)
						d.two.wantOwner(set.Record, bob)
					}
					d.nothingLeft(ids)
				})
			}
		}
	}
}

// A source's server that lost its journal when it had passed the pen leaves all to the destination's.
func TestSourceForgetsWhatItPassed(t *testing.T) {
	for _, owner := range []Side{Destination, Source} {
		t.Run(string(owner), func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			d.two.arrive(set.Record)
			if !d.two.at(set.Record, 0, Destination).write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			d.loses(d.one)
			if owner == Source {
				_, err = d.two.Revert(t.Context(), Ref{ID: set.ID}, true)
			} else {
				_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, true)
			}
			d.one.must(err)
			if owner == Source {
				d.writes(ids, alice, d.one)
			} else {
				d.writes(ids, bob, d.two)
			}
		})
	}
}

// A server whose whole state is gone is another one: what it had been let in to is taken back where the volumes are, as long as these have
// the pen. Else they are taken over; see TestTakeoverEndsMigration.
func TestLostState(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(2)
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	d.two.arrive(set.Record)
	d.stops[d.two]()
	d.two.end()
	d.two.id, d.two.state = volume.NewID().String(), t.TempDir()
	d.two.start()
	d.run(d.two)
	if list := d.two.exports.List(t.Context(), export.Query{}); len(list) > 0 {
		t.Errorf("it lets in %+v", list)
	}
	for i := range ids {
		if !d.one.at(set.Record, i, Source).write(t.Context()) {
			t.Errorf("the source can't write to volume %d", i)
		}
	}
	_, err = d.two.Prepare(t.Context(), d.request(ids))
	wantCode(t, err, fault.VolumeMigrating)
	now, err := d.one.Revert(t.Context(), Ref{ID: set.ID}, false)
	if err != nil || now.State != Stable {
		t.Errorf("%+v, %v", now.Record, err)
	}
	again, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	_, err = d.two.Conclude(t.Context(), Ref{ID: again.ID}, true)
	d.one.must(err)
	d.ends(again.ID, Destination)
}

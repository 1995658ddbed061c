package livemigration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// text is what an error says, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A conclude that ends with 503 has asked for the pen, and that is seen; it passes when the other server answers, and what asks again goes on,
// or takes it back.
func TestConcludeThatGivesUp(t *testing.T) {
	for name, tt := range map[string]struct {
		crash bool // of the server that asked
		owner Side
	}{
		"asked again":                 {owner: Destination},
		"asked again after a restart": {crash: true, owner: Destination},
		"taken back":                  {owner: Source},
		"taken back after a restart":  {crash: true, owner: Source},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t, nil)
			d.two.cfg.ask = 100 * time.Millisecond
			ids := d.disks(2)
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			d.two.arrive(set.Record)
			d.stops[d.one]() // its process is suspended
			_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, false)
			wantCode(t, err, fault.PoolUnavailable)
			for _, say := range []string{
				d.one.id, "on " + d.one.exports.Host(), set.ID.String(), "the same call goes on", "revert takes it back", `"takeover": true`, `"old_host_is_off": true`,
			} {
				if !strings.Contains(text(err), say) {
					t.Errorf("%q does not say %q", text(err), say)
				}
			}
			if tt.crash {
				d.crash(d.two)
				d.two.cfg.ask = 100 * time.Millisecond
			}
			d.eventually(func() string {
				if now, err := d.two.Get(Ref{ID: set.ID}); err != nil || !now.PenAsked || now.Status != (Status{Prepared, Source, ""}) {
					return fmt.Sprintf("%+v, %v", now, err)
				}
				return ""
			})
			if tt.owner == Source {
				now, err := d.two.Revert(t.Context(), Ref{ID: set.ID}, false)
				if err != nil || now.State != Reverting || now.PenAsked {
					t.Errorf("%+v, %v", now, err)
				}
				_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, true)
				wantCode(t, err, fault.MigrationState)
			}
			d.run(d.one)
			d.eventually(func() string {
				if tt.owner == Source {
					return ""
				}
				_, err := d.two.Conclude(t.Context(), Ref{ID: set.ID}, true)
				return text(err)
			})
			d.ends(set.ID, tt.owner)
			d.nothingLeft(ids)
			if tt.owner == Source {
				d.writes(ids, alice, d.one)
			} else {
				d.writes(ids, bob, d.two)
			}
		})
	}
}

// dies ends a server whose host does not come back. Nobody waits for its markers here: what that takes is export's.
func (d *duo) dies(s *stage) {
	d.t.Helper()
	d.stops[s]()
	s.end()
	d.one.must(filepath.WalkDir(d.root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".exported") {
			err = os.Remove(path)
		}
		return err
	}))
}

// takesOver exports a volume through a server that takes it over for carol.
func (d *duo) takesOver(s *stage, id volume.ID) {
	d.t.Helper()
	_, err := s.exports.Export(d.t.Context(), export.Request{Volume: id, Client: client(3), Takeover: true, OldHostIsOff: true})
	d.one.must(err)
}

// A host dies for good with a migration open, and the volumes are taken over: that ends the migration, on the server that is left, and on the
// one that is gone should it come back.
func TestTakeoverEndsMigration(t *testing.T) {
	for name, tt := range map[string]struct {
		wrote  bool // the destination
		dies   Side
		by     Side // who takes over; neither is a third server
		parted bool // the source's server dies with the pen given away and not taken
	}{
		"the source dies with the pen":                            {dies: Source, by: Destination},
		"the source dies as it has given the pen away":            {dies: Source, by: Destination, parted: true},
		"the destination dies with the pen":                       {wrote: true, dies: Destination, by: Source},
		"the source dies, and a third server takes over":          {dies: Source},
		"the destination dies, and a third server takes over all": {wrote: true, dies: Destination},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			servers := map[Side]*stage{Source: d.one, Destination: d.two}
			if servers[""] = d.two; tt.by == "" {
				three := d.server(nil)
				_, _, err := three.Volumes.Refresh(t.Context(), "pool")
				d.one.must(err)
				servers[""] = three
			}
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			d.two.arrive(set.Record)
			if tt.wrote && !d.two.at(set.Record, 0, Destination).write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			dead, alive, by := servers[tt.dies], servers[tt.dies.other()], servers[tt.by]
			if tt.parted {
				d.stops[d.two]()
				d.one.must(d.two.wish(t.Context(), &set.Record, wishPen))
				d.eventually(func() string {
					if b, err := d.one.exports.Book(t.Context(), ids[1]); err != nil || !b.Passed() {
						return "the pen is not passed"
					}
					return ""
				})
			}
			d.dies(dead)
			if tt.parted {
				d.run(d.two)
			}
			d.takesOver(by, ids[0])
			d.takesOver(by, ids[1])
			ends := func(s *stage) {
				t.Helper()
				d.eventually(func() string {
					if now, err := s.Get(Ref{ID: set.ID}); err != nil || now.State != Stable {
						return fmt.Sprintf("it does not end: %+v, %v", now, err)
					}
					return ""
				})
			}
			ends(alive)
			d.writes(ids, client(3), by)
			dead.start()
			d.run(dead)
			ends(dead)
			for _, s := range []*stage{alive, dead} {
				for _, id := range ids {
					if err := s.Held(id); err != nil {
						t.Error(err)
					}
				}
			}
			for _, i := range dead.exports.List(t.Context(), export.Query{}) {
				t.Errorf("the server that was dead exports %+v", i)
			}
			d.writes(ids, client(3), by)
		})
	}
}

// A server comes back whose volumes were taken over while a migration within it was open: nobody waits for locks that others have, and the
// operator's word ends it, whatever it is.
func TestTakeoverOfMigrationWithinAServer(t *testing.T) {
	for _, owner := range []Side{Source, Destination} {
		t.Run(string(owner), func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			rec := d.one.prepared(ids...).Record
			d.dies(d.one)
			for _, id := range ids {
				d.takesOver(d.two, id)
			}
			d.one.start()
			d.run(d.one)
			now, err := d.one.Conclude(t.Context(), Ref{ID: rec.ID}, true)
			if err != nil || now.State != NeedsOperator {
				t.Errorf("%+v, %v", now.Record, err)
			}
			now, err = d.one.Resolve(t.Context(), Ref{ID: rec.ID}, owner)
			if err != nil || now.State != Stable {
				t.Errorf("%+v, waiting for %q, %v", now.Record, now.Waiting, err)
			}
			if list := d.one.exports.List(t.Context(), export.Query{}); len(list) > 0 {
				t.Errorf("it exports %+v", list)
			}
			d.writes(ids, client(3), d.two)
		})
	}
}

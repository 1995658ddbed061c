package livemigration

import (
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// late is a server that stops before the first write of its journal, as one that is suspended, until it is let go on.
func (d *duo) late() (s *stage, stopped <-chan struct{}, goOn func()) {
	d.t.Helper()
	at, on := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s = d.server(func(op string, _ *Record) error {
		if op == "save" {
			once.Do(func() { close(at); <-on })
		}
		return nil
	})
	_, _, err := s.Volumes.Refresh(d.t.Context(), "pool")
	d.one.must(err)
	return s, at, sync.OnceFunc(func() { close(on) })
}

// Two destinations prepare one volume, and one of them is suspended when it has found nothing in its way: when it goes on it is refused with
// the other one's name, and nothing changes for that one, wherever it is by then.
func TestRivalsToPrepare(t *testing.T) {
	carol := client(3)
	for name, tt := range map[string]struct {
		code  fault.Code
		until func(d *duo, set *Set) // the other one has come so far
		after func(d *duo, set *Set)
	}{
		"while the other one is prepared": {fault.VolumeMigrating, func(*duo, *Set) {}, func(d *duo, set *Set) {
			if !d.one.at(set.Record, 0, Source).write(d.t.Context()) {
				d.t.Error("the source can't write, and has the pen")
			}
			d.two.arrive(set.Record)
			if !d.two.at(set.Record, 0, Destination).write(d.t.Context()) {
				d.t.Error("the destination can't write")
			}
		}},
		"while the other one writes": {fault.VolumeMigrating, func(d *duo, set *Set) {
			d.two.arrive(set.Record)
			if !d.two.at(set.Record, 0, Destination).write(d.t.Context()) {
				d.t.Error("the destination can't write")
			}
		}, func(d *duo, set *Set) {
			if !d.two.at(set.Record, 0, Destination).write(d.t.Context()) {
				d.t.Error("the destination can't write any more")
			}
		}},
		"when the other one was concluded": {fault.VolumeNotExported, func(d *duo, set *Set) {
			_, err := d.two.Conclude(d.t.Context(), Ref{ID: set.ID}, true)
			d.one.must(err)
			d.ends(set.ID, Destination)
		}, func(*duo, *Set) {}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(1)
			three, stopped, goOn := d.late()
			defer goOn()
			q := d.request(ids)
			q.Destination.Client = carol
			failed := make(chan error, 1)
			go func() {
				_, err := three.Prepare(t.Context(), q)
				failed <- err
			}()
			<-stopped
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			tt.until(d, set)
			goOn()
			select {
			case err = <-failed:
			case <-time.After(time.Minute):
				t.Fatal("the second call does not end")
			}
			if wantCode(t, err, tt.code); tt.code == fault.VolumeMigrating && !strings.Contains(err.Error(), set.ID.String()) {
				t.Errorf("%v does not name %s", err, set.ID)
			}
			d.eventually(func() string {
				if len(three.List(nil)) > 0 || len(three.journals()) > 0 {
					return "the refused one is not forgotten"
				}
				return ""
			})
			tt.after(d, set)
			_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, true)
			d.one.must(err)
			d.ends(set.ID, Destination)
			d.writes(ids, bob, d.two)
			d.nothingLeft(ids)
		})
	}
}

// nothingLeft checks that no server has left a note beside volumes.
func (d *duo) nothingLeft(ids []volume.ID) {
	d.t.Helper()
	for _, id := range ids {
		for _, prefix := range []string{export.WishNote, export.AnswerNote} {
			d.eventually(func() string {
				if names, err := d.one.exports.Notes(d.t.Context(), id, prefix); len(names) > 0 || err != nil {
					return "left are notes: " + strings.Join(names, ", ")
				}
				return ""
			})
		}
	}
}

// What a server that never came back wished is removed when its time has passed, and before that is in nobody's way.
func TestOldWishGoes(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	a, err := d.one.exports.Source(t.Context(), ids[0], alice, "")
	d.one.must(err)
	gone := Record{
		ID: volume.NewID(), Source: Party{Client: alice}, Destination: Party{Client: bob}, Deadline: time.Now().Add(-time.Second),
		Parts: []Part{{Volume: ids[0], Source: a.ID, Destination: volume.NewID()}}, Here: Destination, Peer: d.one.id,
	}
	d.two.must(d.two.wish(t.Context(), &gone, wishPrepare))
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	d.eventually(func() string {
		if got := d.one.wishOf(t.Context(), &gone); got != wishNone {
			return "the old wish is there still"
		}
		return ""
	})
	if got := d.one.wishOf(t.Context(), &set.Record); got != wishPrepare {
		t.Errorf("the wish of what goes on is %q", got)
	}
}

// Whoever asks the wrong server is told which is the right one.
func TestWrongServer(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	three := d.server(nil)
	_, _, err = three.Volumes.Refresh(t.Context(), "pool")
	d.one.must(err)
	for name, tt := range map[string]struct {
		at   *stage
		says []string
	}{
		"the source's": {d.one, []string{set.ID.String(), "prepare and conclude are called there", d.two.id, "on " + d.two.exports.Host()}},
		"a third one":  {three, []string{set.ID.String(), "conclude it there", d.two.id}},
	} {
		_, err := tt.at.Prepare(t.Context(), d.request(ids))
		wantCode(t, err, fault.VolumeMigrating)
		for _, say := range tt.says {
			if err != nil && !strings.Contains(err.Error(), say) {
				t.Errorf("at %s server: %q does not say %q", name, err, say)
			}
		}
	}
	_, err = d.one.Conclude(t.Context(), Ref{ID: set.ID}, true)
	wantCode(t, err, fault.MigrationState)
	if err == nil || !strings.Contains(err.Error(), d.two.id) {
		t.Errorf("%v does not say where", err)
	}
	if !d.two.at(set.Record, 0, Destination).login() || !d.two.at(set.Record, 0, Destination).write(t.Context()) {
		t.Error("the destination can't write")
	}
	for say, err := range map[string]error{
		"conclude or revert it there": d.one.Held(ids[0]), "conclude or revert it here": d.two.Held(ids[0]),
	} {
		if wantCode(t, err, fault.VolumeMigrating); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%v does not say %q", err, say)
		}
	}
}

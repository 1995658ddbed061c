package livemigration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"elstore/volume"
)

func TestNextAfterOthers(t *testing.T) {
	tests := map[string]struct {
		here   Side
		status Status
		wish   wish
		books  []standing
		want   task
	}{
		"taken over before it was prepared":      {Source, Status{Preparing, Source, ""}, wishPrepare, []standing{somebodys, sources}, taskFail},
		"taken over":                             {Source, Status{Prepared, Source, ""}, wishPrepare, []standing{somebodys, sourcesPen}, taskStuck},
		"one taken over here, one there":         {Source, Status{Prepared, Destination, ""}, wishPen, []standing{sources, destinations}, taskStuck},
		"one given back, one to be":              {Source, Status{Prepared, Destination, ""}, wishRevert, []standing{sources, passed}, taskNone},
		"one given back, one not readable":       {Source, Status{Prepared, Destination, ""}, wishRevert, []standing{sources, ""}, taskNone},
		"concluding what the source took over":   {Destination, Status{Concluding, Destination, ""}, wishPen, []standing{sources, destinations}, taskStuck},
		"concluding the rest first":              {Destination, Status{Concluding, Destination, ""}, wishPen, []standing{sources, passed}, taskCommit},
		"concluding what can't be read":          {Destination, Status{Concluding, Destination, ""}, wishPen, []standing{destinations, ""}, taskNone},
		"concluding beside what was taken over":  {Destination, Status{Concluding, Destination, ""}, wishPen, []standing{destinations, somebodys}, taskProven},
		"reverting beside what was taken over":   {Destination, Status{Reverting, Source, ""}, wishRevert, []standing{sources, somebodys}, taskProven},
		"reverting, and asked for too late":      {Destination, Status{Reverting, Source, ""}, wishNone, []standing{somebodys}, taskAsk},
		"giving back beside what was taken over": {Destination, Status{Reverting, Destination, ""}, wishRevert, []standing{passed, somebodys}, taskReturn},
		"reverting what was let in":              {Destination, Status{Reverting, Source, ""}, wishRevert, []standing{sourcesPen, sources}, taskNone},
		"all of it taken over, the source":       {Source, Status{Prepared, Source, ""}, wishPen, []standing{somebodys, somebodys}, taskLost},
		"all of it taken over, the destination":  {Destination, Status{Prepared, Destination, ""}, wishPen, []standing{somebodys, somebodys}, taskLost},
		"taken over, or not readable":            {Source, Status{Prepared, Source, ""}, wishPen, []standing{somebodys, ""}, taskNone},
		"undecided, and taken over since":        {Destination, Status{NeedsOperator, "", ""}, wishNone, []standing{somebodys, somebodys}, taskLost},
		"undecided, and concluded there since":   {Source, Status{NeedsOperator, Destination, ""}, wishNone, []standing{destinations, destinations}, taskGone},
		"undecided, and reverted there since":    {Destination, Status{NeedsOperator, Source, ""}, wishNone, []standing{sources, sources}, taskBack},
		"undecided, and half of it left":         {Destination, Status{NeedsOperator, Source, ""}, wishPen, []standing{somebodys, passed}, taskNone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := &sight{here: tt.here, status: tt.status, wish: tt.wish, books: tt.books}
			if got := v.next(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A server that was killed as it prepared comes back when the volumes move to another one.
func TestOldMigrationLeavesTheNextAlone(t *testing.T) {
	d := newDuo(t, nil)
	ids := d.disks(1)
	set, err := d.two.Prepare(t.Context(), d.request(ids))
	d.one.must(err)
	old := set.Record
	old.ID, old.Status, old.LoggedIn = volume.NewID(), Status{Preparing, Source, ""}, false
	old.Parts = []Part{{Volume: ids[0], Source: set.Parts[0].Source, Destination: volume.NewID()}}
	three := &stage{
		t: t, root: d.one.root, state: t.TempDir(), id: volume.NewID().String(), ring: d.one.ring, shared: true,
		change: func(c *Config) { c.look = 5 * time.Millisecond },
	}
	d.one.must(os.Mkdir(filepath.Join(three.state, journalDir), 0o700))
	d.one.must(os.WriteFile(filepath.Join(three.state, fileOf(old.ID)), old.encode(), 0o600))
	three.start()
	d.run(three)
	d.eventually(func() string {
		if now, err := three.Get(Ref{ID: old.ID}); err != nil || now.State != Stable {
			return "the old migration does not end"
		}
		return ""
	})
	if got := d.two.wishOf(t.Context(), &set.Record); got != wishPrepare {
		t.Errorf("the next migration's wish is %q", got)
	}
	d.two.arrive(set.Record)
	if !d.two.at(set.Record, 0, Destination).write(t.Context()) {
		t.Error("the destination of the next migration can't write")
	}
	_, err = d.two.Conclude(t.Context(), Ref{ID: set.ID}, false)
	d.one.must(err)
	d.ends(set.ID, Destination)
}

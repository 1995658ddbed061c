package livemigration

import (
	"fmt"
	"testing"
)

// side is one of the two servers in the model.
type side struct {
	up      bool
	journal Status
	holds   [2]bool // locks, with the image open for writing
	open    [2]bool // gates
	again   bool    // it started in the middle of it
}

// world is all that there is of a migration of two volumes between two servers. A value, to be a key.
type world struct {
	s, d  side
	wish  wish
	books [2]standing
	asked bool // the destination's machine wants to write
}

func (w *world) sight(here Side) *sight {
	v := &sight{here: here, wish: w.wish, status: w.s.journal, books: w.books[:]}
	if here == Destination {
		v.status = w.d.journal
	}
	return v
}

func (w *world) writes(p *side) bool {
	return p.up && (p.holds[0] && p.open[0] || p.holds[1] && p.open[1])
}

// check is what must be true at every moment.
func (w *world) check() error {
	for i := range w.books {
		if w.s.holds[i] && w.d.holds[i] {
			return fmt.Errorf("both have the lock of volume %d", i)
		}
		if w.s.holds[i] && w.s.open[i] && w.books[i] != sources && w.books[i] != sourcesPen {
			return fmt.Errorf("the source writes to volume %d, which is %s", i, w.books[i])
		}
		if w.d.holds[i] && w.d.open[i] && w.books[i] != passed && w.books[i] != destinations {
			return fmt.Errorf("the destination writes to volume %d, which is %s", i, w.books[i])
		}
	}
	s, d := w.s.journal, w.d.journal
	switch {
	case w.writes(&w.s) && w.writes(&w.d):
		return fmt.Errorf("both sides write")
	case s.State == Stable && d.State == Stable && s.Owner != d.Owner:
		return fmt.Errorf("it is the %s's to one and the %s's to the other", s.Owner, d.Owner)
	case d.State == Stable && d.Owner == Destination && (w.s.holds[0] || w.s.holds[1]):
		return fmt.Errorf("it was concluded, and the source has a volume")
	}
	return nil
}

// step is one thing that happens, all of it or nothing.
type step struct {
	name string
	do   func(w *world) bool // false: it can't happen now
	far  bool                // it is somebody's call, or a crash
}

func (p *side) end() { p.up, p.holds, p.open, p.again = false, [2]bool{}, [2]bool{}, false }

func (p *side) make(events ...Event) bool {
	now := p.journal
	for _, e := range events {
		next, err := now.Step(e)
		if err != nil {
			return false
		}
		now = next
	}
	p.journal = now
	return true
}

// steps are what the code does, in pieces as small as a crash can cut it.
func steps() (list []step) {
	add := func(name string, far bool, do func(w *world) bool) { list = append(list, step{name, do, far}) }
	add("the source's server ends", true, func(w *world) bool { up := w.s.up; w.s.end(); return up })
	add("the destination's server ends", true, func(w *world) bool { up := w.d.up; w.d.end(); return up })
	add("the source's server starts", false, func(w *world) bool {
		if w.s.up {
			return false
		}
		w.s.up, w.s.again = true, w.s.journal.State == Preparing
		return true
	})
	add("the destination's server starts", false, func(w *world) bool {
		if w.d.up {
			return false
		}
		w.d.up = true
		if w.d.journal.State == Preparing {
			w.d.make(Failed)
		}
		return true
	})
	add("the destination's server journals prepare", true, func(w *world) bool { return w.d.up && w.d.make(Begin) })
	add("the destination's server wishes prepare", false, func(w *world) bool {
		ok := w.d.up && w.d.journal.State == Preparing && w.wish == wishNone
		if ok {
			w.wish = wishPrepare
		}
		return ok
	})
	add("the source's server journals prepare", false, func(w *world) bool {
		return w.s.up && w.wish == wishPrepare && w.s.holds == [2]bool{true, true} && w.s.make(Begin)
	})
	add("the source's server has prepared", false, func(w *world) bool {
		return w.s.up && w.s.journal.State == Preparing && w.sight(Source).all(sourcesPen) && w.s.make(Admitted)
	})
	add("the source's server fails to prepare", true, func(w *world) bool {
		return w.s.up && w.s.journal.State == Preparing && w.s.make(Failed)
	})
	add("the destination's server has prepared", false, func(w *world) bool {
		return w.d.up && w.d.journal.State == Preparing && w.sight(Destination).all(sourcesPen) && w.d.make(Admitted)
	})
	add("the destination's server waits no longer", true, func(w *world) bool {
		return w.d.up && w.d.journal.State == Preparing && w.d.make(Failed)
	})
	add("the destination wants to write", true, func(w *world) bool {
		ok := w.d.up && w.d.journal == Status{Prepared, Source, ""} && !w.asked
		w.asked = w.asked || ok
		return ok
	})
	add("the destination's server wishes the pen", false, func(w *world) bool {
		ok := w.d.up && w.asked && w.d.journal == Status{Prepared, Source, ""} && w.wish == wishPrepare
		if ok {
			w.wish = wishPen
		}
		return ok
	})
	add("the source is asked to revert", true, func(w *world) bool {
		return w.s.up && w.s.journal == Status{Prepared, Source, ""} && w.s.make(Revert)
	})
	add("the destination is asked to revert", true, func(w *world) bool {
		if !w.d.up || w.d.journal.State != Prepared || !w.d.make(Assert) {
			return false
		}
		w.d.open = [2]bool{}
		return true
	})
	add("the destination is asked to conclude", true, func(w *world) bool {
		return w.d.up && w.d.journal == Status{Prepared, Destination, ""} && w.d.make(Conclude)
	})
	add("the source's server passes the pen", false, func(w *world) bool {
		if !w.s.up || w.sight(Source).next() != taskPass || w.s.journal.Pen != Source {
			return false
		}
		w.s.open = [2]bool{}
		return w.s.make(Write)
	})
	add("the source's server ends a task", false, func(w *world) bool {
		if !w.s.up {
			return false
		}
		switch w.sight(Source).next() {
		case taskFail:
			return w.s.again && w.s.make(Failed) // else the call that prepares is at work
		case taskUndo:
			return w.sight(Source).all(sources) && w.s.make(Proven)
		case taskRevert:
			return w.s.make(Revert)
		case taskGone:
			return w.s.make(Conclude, Proven)
		case taskBack:
			return w.s.make(Assert, Proven)
		default:
			return false
		}
	})
	add("the destination's server ends a task", false, func(w *world) bool {
		if !w.d.up {
			return false
		}
		ok := false
		switch w.sight(Destination).next() {
		case taskTake:
			ok = w.d.holds == [2]bool{true, true} && w.d.make(Write)
			if ok {
				w.d.open = [2]bool{true, true}
			}
			return ok
		case taskBack:
			ok = w.d.make(Revert, Proven)
		case taskProven:
			ok = w.d.make(Proven)
		case taskAsk:
			w.wish = wishRevert
			return true
		default:
			return false
		}
		return ok
	})
	add("the destination's server removes its wish", false, func(w *world) bool {
		ok := w.d.up && w.d.journal.State == Stable && w.wish != wishNone
		if ok {
			w.wish = wishNone
		}
		return ok
	})
	for i := range 2 {
		of := func(what string) string { return fmt.Sprintf("%s %d", what, i) }
		add(of("the source's server lets in to"), false, func(w *world) bool {
			if !w.s.up || w.s.holds[i] || w.d.holds[i] || w.books[i] != sources && w.books[i] != sourcesPen {
				return false
			}
			w.s.holds[i], w.s.open[i] = true, w.books[i] == sources
			return true
		})
		add(of("the source's gate opens to"), false, func(w *world) bool {
			if !w.s.up || !w.s.holds[i] || w.s.open[i] || w.books[i] != sources && w.s.journal.MayWrite() != Source {
				return false
			}
			w.s.open[i] = true
			return true
		})
		add(of("the source's server admits to"), false, func(w *world) bool {
			ok := w.s.up && w.s.journal.State == Preparing && !w.s.again && w.s.holds[i] && w.books[i] == sources
			if ok {
				w.books[i] = sourcesPen
			}
			return ok
		})
		add(of("the source's server undoes"), false, func(w *world) bool {
			ok := w.s.up && w.sight(Source).next() == taskUndo && w.s.holds[i] && w.books[i] == sourcesPen
			if ok {
				w.books[i] = sources
			}
			return ok
		})
		add(of("the source's server writes the pen of"), false, func(w *world) bool {
			ok := w.s.up && w.sight(Source).next() == taskPass && w.s.journal.Pen == Destination && w.s.holds[i] && w.books[i] == sourcesPen
			if ok {
				w.books[i] = passed
			}
			return ok
		})
		add(of("the source's server lets go of"), false, func(w *world) bool {
			ok := w.s.holds[i] && w.books[i] != sources && w.books[i] != sourcesPen
			if ok {
				w.s.holds[i], w.s.open[i] = false, false
			}
			return ok
		})
		add(of("the destination's server takes the lock of"), false, func(w *world) bool {
			ok := w.d.up && !w.d.holds[i] && !w.s.holds[i] && (w.books[i] == passed || w.books[i] == destinations)
			if ok {
				w.d.holds[i], w.d.open[i] = true, w.d.journal.MayWrite() == Destination
			}
			return ok
		})
		add(of("the destination's server commits"), false, func(w *world) bool {
			ok := w.d.up && w.sight(Destination).next() == taskCommit && w.d.holds[i] && w.books[i] == passed
			if ok {
				w.books[i] = destinations
			}
			return ok
		})
		add(of("the destination's server returns"), false, func(w *world) bool {
			ok := w.d.up && w.sight(Destination).next() == taskReturn && w.d.holds[i] && w.books[i] == passed
			if ok {
				w.books[i], w.d.open[i] = sources, false
			}
			return ok
		})
		add(of("the destination's server lets go of"), false, func(w *world) bool {
			ok := w.d.holds[i] && w.books[i] != passed && w.books[i] != destinations
			if ok {
				w.d.holds[i], w.d.open[i] = false, false
			}
			return ok
		})
	}
	return list
}

// TestEverythingThatCanHappen goes through all that two servers of a migration can come to, with a crash of either at any point: at no
// moment both write, and from everywhere they come to an end that they agree on, if only both run for long enough.
func TestEverythingThatCanHappen(t *testing.T) {
	start := world{s: side{up: true, holds: [2]bool{true, true}, open: [2]bool{true, true}}, d: side{up: true}, wish: wishNone, books: [2]standing{sources, sources}}
	type origin struct {
		from world
		by   string
	}
	seen := map[world]origin{start: {}}
	moves := steps()
	path := func(w world) (text string) {
		for w != start {
			text = "\n" + seen[w].by + text
			w = seen[w].from
		}
		return text
	}
	ends := map[Side]int{}
	for queue := []world{start}; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		if err := w.check(); err != nil {
			t.Fatalf("%v, after%s", err, path(w))
		}
		quiet := true
		for _, m := range moves {
			next := w
			if !m.do(&next) || next == w {
				continue
			}
			quiet = quiet && m.far
			if _, known := seen[next]; !known {
				seen[next] = origin{w, m.name}
				queue = append(queue, next)
			}
		}
		if !quiet {
			continue
		}
		s, d := w.s.journal, w.d.journal
		switch {
		case s == d && s.State == Stable:
			ends[s.Owner]++
		case s == d && s.State == Prepared && (s.Pen == Source && !w.asked || s.Pen == Destination && w.writes(&w.d)):
		case s.State == "" && d.State == "": // nothing was asked for
		case s.State == "" && d == Status{Stable, Source, Source} && w.writes(&w.s): // it was given up before it was seen
		case s == Status{Stable, Source, Source} && d.State == Preparing && w.writes(&w.s): // the call that waits has an end
		default:
			t.Fatalf("nothing goes on, with %+v, after%s", w, path(w))
		}
	}
	if ends[Source] == 0 || ends[Destination] == 0 {
		t.Errorf("it ends so: %v", ends)
	}
	t.Logf("%d states", len(seen))
}

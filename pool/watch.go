package pool

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How long changes that come one after the other are gathered before they are looked at: until there was quiet
// for a moment, but not for ever.
const (
	quiet   = 100 * time.Millisecond
	longest = 2 * time.Second
)

// rest is how many times as long as the last look the next one waits at least.
const rest = 9

// watcher learns of changes in directories, where their file systems tell. Without one, only the rescan finds them.
type watcher struct {
	notify  *fsnotify.Watcher // nil if the system has none to give
	log     *slog.Logger
	watched map[string]fs.FileInfo // by absolute path
	full    bool                   // the system gave no more watches, and it was logged
}

func newWatcher(log *slog.Logger) *watcher {
	w := &watcher{log: log, watched: map[string]fs.FileInfo{}}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("changes of pools are found by looking for them only", slog.Any("error", err))
	}
	return w
}

// follow watches the directories, by path below root, and no others. It reports whether there are new ones.
func (w *watcher) follow(root string, dirs map[string]bool) (added bool) {
	if w.notify == nil {
		return false
	}
	want := map[string]fs.FileInfo{}
	for rel := range dirs {
		path := filepath.Join(root, rel)
		if info, err := os.Stat(path); err == nil {
			want[path] = info
		}
	}
	live := map[string]bool{} // the system ends a watch with its directory
	for _, path := range w.notify.WatchList() {
		live[path] = true
	}
	for path, info := range w.watched {
		if now, ok := want[path]; !ok || !os.SameFile(info, now) || !live[path] {
			_ = w.notify.Remove(path) // it may have gone by itself
			delete(w.watched, path)
		}
	}
	for path, info := range want {
		if w.watched[path] != nil {
			continue
		}
		if err := w.notify.Add(path); err != nil {
			if !w.full && !errors.Is(err, fs.ErrNotExist) {
				w.full = true
				w.log.Warn("changes of some pools are found by looking for them only", slog.String("path", path), slog.Any("error", err))
			}
			continue
		}
		w.watched[path] = info
		added = true
	}
	return added
}

func (w *watcher) close() error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Close()
}

// Run follows changes until ctx ends, and returns when what it started has ended too. It is called once.
func (s *Set) Run(ctx context.Context) {
	var events chan fsnotify.Event
	var failures chan error
	if n := s.watcher.notify; n != nil {
		events, failures = n.Events, n.Errors
	}
	tick := time.NewTicker(s.cfg.Rescan)
	defer tick.Stop()
	mounts := make(chan struct{}, 1)
	mounts <- struct{}{} // between the last look and now nobody watched
	defer watchMounts(mounts)()
	gather := newGather()
	defer gather.timer.Stop()
	for {
		look := false
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if s.concerns(e) {
				gather.add(time.Now())
			}
		case _, ok := <-failures: // changes were lost
			if !ok {
				failures = nil
			} else {
				s.pokeAll()
				gather.add(time.Now())
			}
		case <-s.nudge:
			gather.add(time.Now())
		case <-mounts:
			gather.add(time.Now())
		case <-gather.timer.C:
			look = true
		case <-tick.C:
			look = true
		}
		if look {
			start := time.Now()
			s.look(ctx)
			gather.done(start, time.Now())
		}
	}
}

// concerns reports whether an event may have made, ended or changed a pool. One about a volume is passed on to its pool.
func (s *Set) concerns(e fsnotify.Event) bool {
	dir, name := filepath.Split(e.Name)
	dir = filepath.Clean(dir)
	if name == SettingsFile || e.Name == "" {
		return true
	}
	for _, p := range s.inUse() {
		if p.path != dir {
			continue
		}
		if isVolume(name) && (e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
			p.poke()
		}
		return false
	}
	return !private(name)
}

func (s *Set) pokeAll() {
	for _, p := range s.inUse() {
		p.poke()
	}
}

// gather is the time at which changes that came are to be looked at.
type gather struct {
	timer     *time.Timer
	first     time.Time // when the first of them came, zero if there are none
	notBefore time.Time // when the machine has rested
}

func newGather() *gather {
	g := &gather{timer: time.NewTimer(time.Hour)}
	g.timer.Stop()
	return g
}

// add notes that something changed.
func (g *gather) add(now time.Time) {
	if g.first.IsZero() {
		g.first = now
	}
	g.timer.Reset(g.at(now).Sub(now))
}

// at returns when to look if the last change came now.
func (g *gather) at(now time.Time) time.Time {
	at := now.Add(quiet)
	if last := g.first.Add(longest); at.After(last) {
		at = last
	}
	if at.Before(g.notBefore) {
		at = g.notBefore
	}
	return at
}

// done notes that everything was looked at.
func (g *gather) done(start, end time.Time) {
	g.timer.Stop()
	g.first = time.Time{}
	g.notBefore = end.Add(rest * end.Sub(start))
}

// poke asks for a look at the pool's volumes.
func (p *Pool) poke() {
	select {
	case p.poked <- struct{}{}:
	default: // it is coming already
	}
}

// tellChanged calls Config.Changed when the volumes have come to rest.
func (p *Pool) tellChanged(ctx context.Context) {
	if p.set.cfg.Changed == nil {
		return
	}
	g := newGather()
	defer g.timer.Stop()
	for g.add(time.Now()); ; {
		select {
		case <-ctx.Done():
			return
		case <-p.poked:
			g.add(time.Now())
			continue
		case <-g.timer.C:
		}
		break
	}
	start := time.Now()
	p.set.cfg.Changed(ctx, p)
	g.done(start, time.Now())
	g.timer.Reset(time.Until(g.notBefore))
	select {
	case <-ctx.Done():
	case <-g.timer.C:
	}
}

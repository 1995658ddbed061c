package pool

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"elstore/volume"
)

// DefaultRescan is how often everything is looked at again where Config doesn't say.
const DefaultRescan = 30 * time.Second

// Config is what a Set needs. Root, ServerID and Attach are required.
type Config struct {
	Root     string        // the directory that pools lie in
	ServerID string        // which server this is, the same after a restart
	Rescan   time.Duration // how often to look for changes that nobody told of; 0 is DefaultRescan
	Log      *slog.Logger  // nil: nothing is logged

	// Attach takes a pool into use: it opens its storage and says what that can do, and has called the pool's Account and SetBase with
	// what it found there when it returns. An error makes the pool invalid, for that reason, until a later call succeeds.
	// It is called for several pools at once.
	Attach func(ctx context.Context, p *Pool) (volume.Caps, error)
	// Detach takes an attached pool out of use, also when the Set is closed, and returns when nothing of this process touches its directory
	// any more: then the pool's lock is given back. nil: there is nothing to do.
	Detach func(p *Pool)
	// Changed tells that volumes may have come into an attached pool, or gone from it, without this server. Calls for
	// one pool don't overlap, come after a moment of quiet, and leave the machine alone for nine times as long as they
	// take. ctx ends when the pool goes out of use. nil: nobody wants to know.
	Changed func(ctx context.Context, p *Pool)
	// Check tells by an error why an attached pool can't be used now, for reasons that its file system doesn't know. It must not
	// wait. nil: there are none.
	Check func(p *Pool) error
	// Notify tells that a pool came, went, or became valid or invalid. nil: nobody wants to know.
	Notify func(pool string)
}

// Set is the pools below one root. Its methods may be called at the same time.
type Set struct {
	cfg     Config
	root    string // absolute
	log     *slog.Logger
	watcher *watcher
	nudge   chan struct{} // full when everything is to be looked at soon

	asking   asking
	looking  sync.Mutex    // held while everything is looked at
	emptying chan struct{} // full while bins are emptied to make room
	work     sync.WaitGroup

	mu       sync.Mutex // for memory only: never held across a call that may wait
	pools    []*Pool    // by name
	notPools []NotPool
	vanished []*Pool // gone, and not yet reported
	devices  map[string]*device
	closed   bool
}

// New makes a Set that has not looked for pools yet, so that Attach can use what needs the Set itself. Rescan
// takes into use those that are there, Run keeps that up to date, and at last comes Close.
func New(cfg Config) (*Set, error) {
	if cfg.Root == "" || cfg.ServerID == "" || cfg.Attach == nil {
		return nil, errors.New("pool: Config needs Root, ServerID and Attach")
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, err
	}
	if cfg.Rescan == 0 {
		cfg.Rescan = DefaultRescan
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	_ = dir.Close()
	s := &Set{
		cfg: cfg, root: root, log: cfg.Log, watcher: newWatcher(cfg.Log), nudge: make(chan struct{}, 1),
		emptying: make(chan struct{}, 1), devices: map[string]*device{},
	}
	s.asking = asking{answered: s.hurry, silent: map[string]bool{}}
	return s, nil
}

// Rescan looks at everything now, and returns when the pools that came are in use, all but those that are not
// valid. Its error is that ctx ended first.
func (s *Set) Rescan(ctx context.Context) error {
	for _, done := range s.look(ctx) {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// Get returns the pool of a name, if it is in use.
func (s *Set) Get(name string) (*Pool, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		if p.name == name && p.phase == attached {
			return p, true
		}
	}
	return nil, false
}

// Close takes all pools out of use and gives their locks back. Run must have ended.
func (s *Set) Close() error {
	s.looking.Lock()
	defer s.looking.Unlock()
	s.mu.Lock()
	s.closed = true
	for _, p := range s.pools {
		s.part(context.Background(), p)
	}
	s.mu.Unlock()
	s.work.Wait()
	return s.watcher.close()
}

// disk returns what is known of writing on a device. The caller holds mu.
func (s *Set) disk(name string) *device {
	d := s.devices[name]
	if d == nil {
		d = &device{}
		s.devices[name] = d
	}
	return d
}

// Recheck asks for an early look at everything, since something may have changed that the Set can't see.
func (s *Set) Recheck() { s.hurry() }

// hurry asks for an early look at everything.
func (s *Set) hurry() {
	select {
	case s.nudge <- struct{}{}:
	default: // it is coming already
	}
}

// arrange puts the pools in order and forgets those that are gone. The caller holds mu.
func (s *Set) arrange() {
	s.pools = slices.DeleteFunc(s.pools, func(p *Pool) bool { return p.phase == gone })
	slices.SortStableFunc(s.pools, func(a, b *Pool) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rel, b.rel))
	})
}

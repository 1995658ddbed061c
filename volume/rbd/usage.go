package rbd

import (
	"context"
	"sync"
	"time"
)

// usage is what images were found to take, so that lists need not ask the cluster.
type usage struct {
	mu    sync.Mutex
	m     map[string]used
	asked chan string // images to be measured
}

type used struct {
	bytes    int64
	modified time.Time
	at       time.Time // when it was measured; zero is not yet
	asked    bool
}

// stale is how old a measurement may be before a look at it has it made anew.
const stale = time.Minute

// Usage returns how many bytes of data an image has, not counting replication, and when it was last written to, as they were
// measured a while ago; zero where they were not yet. It asks nobody, and has what is old measured soon.
func (s *Store) Usage(name string) (bytes int64, modified time.Time) {
	u := &s.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	is := u.m[name]
	if !is.asked && time.Since(is.at) > stale {
		select {
		case u.asked <- name:
			is.asked = true
			u.put(name, is)
		default: // a list of many: their turn comes
		}
	}
	return is.bytes, is.modified
}

// put is called with mu held.
func (u *usage) put(name string, is used) {
	if u.m == nil {
		u.m = map[string]used{}
	}
	u.m[name] = is
}

func (u *usage) forget(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.m, name)
}

// Measure finds out now what an image takes. A failure leaves what was known.
func (s *Store) Measure(name string) {
	is := used{at: time.Now()}
	err := s.bounded("measure the image", func() error {
		return s.image(name, true, func(h Handle) (err error) {
			is.bytes, is.modified, err = measure(h)
			return err
		})
	})
	s.usage.mu.Lock()
	defer s.usage.mu.Unlock()
	if err != nil {
		is = s.usage.m[name]
		is.at, is.asked = time.Now(), false // not again at once
	}
	s.usage.put(name, is)
}

func measure(h Handle) (bytes int64, modified time.Time, err error) {
	size, err := h.Size()
	if err == nil && size > 0 {
		err = h.Extents(0, size, func(_, n int64) bool {
			bytes += n
			return true
		})
	}
	if err == nil {
		modified, err = h.Modified()
	}
	return bytes, modified, err
}

// measureAsked measures what was looked at, one image after the other, until ctx ends.
func (s *Store) measureAsked(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-s.usage.asked:
			if s.Health() == nil {
				s.Measure(name) //nolint:contextcheck // it has an end of its own
			}
		}
	}
}

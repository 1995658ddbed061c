package volumetest

import (
	"fmt"
	"sync"
	"syscall"
)

// Steps counts steps and decides which fail. Its methods may be called at the same time.
type Steps struct {
	mu    sync.Mutex
	n     int  // the step that fails, counted from 0
	last  bool // all that follow fail too
	seen  int
	hit   string
	cause error
}

// FailAt lets step n fail with err, and no other.
func FailAt(n int, err error) *Steps { return &Steps{n: n, cause: err} }

// CrashAt lets step n and all that follow fail: nothing changes any more, as after kill -9.
func CrashAt(n int) *Steps { return &Steps{n: n, last: true, cause: syscall.EIO} }

// Step is asked before a change of what is described by op.
func (s *Steps) Step(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.seen
	s.seen++
	if at < s.n || at > s.n && !s.last {
		return nil
	}
	if s.hit == "" {
		s.hit = op
	}
	return fmt.Errorf("injected at step %d (%s): %w", at, op, s.cause)
}

// Hit returns what step n was, and whether it was reached.
func (s *Steps) Hit() (op string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hit, s.hit != ""
}

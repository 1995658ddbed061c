package iscsi

import (
	"sync/atomic"

	"elstore/export/scsi"
)

// abortKind is how a task was aborted.
type abortKind uint8

const (
	notAborted      abortKind = iota
	abortQuietly              // by its own nexus: no answer
	abortDraining             // the same, once the data that R2Ts asked for has come; section 4.2.3.3
	abortWithStatus           // by another nexus: it ends with TASK ABORTED, as the control mode page says (TAS)
)

// waiter waits until tasks are gone.
type waiter struct {
	left atomic.Int32
	all  chan struct{}
}

func newWaiter() *waiter {
	w := &waiter{all: make(chan struct{})}
	w.left.Store(1)
	return w
}

func (w *waiter) done() {
	if w.left.Add(-1) == 0 {
		close(w.all)
	}
}

// wait returns what is closed when all tasks are gone that were added before.
func (w *waiter) wait() <-chan struct{} {
	w.done()
	return w.all
}

// abort aborts every task that matches. Those that somebody runs, or whose data is to come where kind is
// abortDraining, are gone some time later: w waits for them.
func (s *session) abort(w *waiter, match func(*task) bool, kind abortKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if !match(t) {
			continue
		}
		if t.aborted == notAborted || t.aborted == abortDraining {
			t.aborted = kind
		}
		if t.state == held || kind == abortDraining && t.state == waiting && (t.open || len(t.bursts) > 0) {
			t.ctx.abort()
			t.releaseUnlessHeld()
			w.left.Add(1)
			t.waiters = append(t.waiters, w)
			continue
		}
		s.pending.remove(t)
		s.blocked.remove(t)
		s.ready.remove(t)
		t.status = scsi.StatusTaskAborted
		s.finishLocked(t)
	}
	for v := range s.visits {
		if match(v) {
			v.ctx.abort()
			w.left.Add(1)
			v.waiters = append(v.waiters, w)
		}
	}
}

// releaseUnlessHeld gives back data of an aborted task that nobody will look at.
func (t *task) releaseUnlessHeld() {
	if t.state != held {
		t.fail(incorrectAmount)
	}
}

// matchTag matches the task with that tag.
func matchTag(tag uint32) func(*task) bool {
	return func(t *task) bool { return t.itt == tag }
}

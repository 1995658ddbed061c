package iscsi

import (
	"runtime"
	"sync/atomic"
	"time"
)

// lingerTime is how long a thread waits for the next command of an initiator that sends one after the other. It
// is what such initiators need many times over, and short of the 10 ms for which the runtime lets a system call
// keep its processor.
const lingerTime = time.Millisecond

// lingerTurn is how long a reader goes on without the runtime's scheduler. After 10 ms that would take the processor
// from it in every system call.
const lingerTurn = 5 * time.Millisecond

// lingering counts the threads of a Server that wait for a connection in a system call of their own. An
// initiator that has one command under way at a time waits for our wake-up with each of them, and the runtime's
// poller makes that half as long again, with two more system calls and often another thread. A thread that waits
// keeps one of the runtime's processors, which other goroutines may have to wait for: half of them at most are
// used so, and where there is only one, none.
type lingering struct {
	most int32
	now  atomic.Int32
}

func newLingering() *lingering { return &lingering{most: int32(runtime.GOMAXPROCS(0) / 2)} }

func (l *lingering) take() bool {
	if l.now.Add(1) <= l.most {
		return true
	}
	l.now.Add(-1)
	return false
}

func (l *lingering) giveBack() { l.now.Add(-1) }

// Linger implements pdu.Lingerer: a connection is waited for by a thread of its own while its initiator sends
// again soon after each answer, and no other goroutine of the session needs the processor.
func (c *conn) Linger() (spin, most time.Duration) {
	since := time.Duration(c.life.last.Load()) - c.waited
	if c.session == nil || since >= lingerTurn || c.life.gap >= lingerTime || c.session.busy() || !c.server.lingering.take() {
		return 0, 0
	}
	return c.spins.next(), lingerTime
}

// Lingered implements pdu.Lingerer.
func (c *conn) Lingered(seen bool) {
	c.server.lingering.giveBack()
	c.spins.over(seen)
}

// Waits implements pdu.Lingerer.
func (c *conn) Waits() { c.waited = time.Duration(c.life.last.Load()) }

// busy reports whether other goroutines work for the session. It waits for none of them: the reader asks while it has the
// descriptor, which conn.kill waits for.
func (s *session) busy() bool {
	if !s.mu.TryLock() {
		return true // one does
	}
	defer s.mu.Unlock()
	return s.workers > 0 || s.sending
}

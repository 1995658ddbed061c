package iscsi

import (
	"time"

	"elstore/export/scsi"
)

const (
	// stallTick is how long writes in line may keep the reader, or twice that. It is much longer than a thread waits for
	// a busy processor, and much shorter than initiators wait for answers to their pings.
	stallTick = 50 * time.Millisecond
	// stallPause is how long writes go to workers after one in line took too long.
	stallPause = 500 * time.Millisecond
)

// inline is the writes that the reader runs itself, because their medium is said to be quick: when the PDUs that are
// there have been taken in, and before their answers leave. No medium keeps such a promise always: the cache of a
// disk may be full for seconds. Where a write takes longer than a tick, another goroutine becomes the reader, workers
// get the writes behind it, and the goroutine that waits is no more than one of them.
type inline struct {
	tasks []*task // the reader's: to be run next

	// under session.mu
	batch   []*task // not begun of those that are run
	runs    uint64  // how often running was begun and ended: odd while it goes on
	seen    uint64  // runs at the last tick
	timer   *time.Timer
	ticking bool
	relief  chan error    // what the new reader returned, from when it began until the old one knows
	calm    time.Duration // since the connection's start: no write in line before that
}

// allowed reports whether writes may run in line now. session.mu is held.
func (l *inline) allowed(s *session) bool {
	return l.relief == nil && time.Duration(s.conn.life.last.Load()) >= l.calm
}

// stop ends the ticking. session.mu is held.
func (l *inline) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// runInline runs the writes in line. Where that took so long that another goroutine reads by now it returns a
// channel that has that one's result in the end: the caller is not the reader any more.
func (s *session) runInline() (relief <-chan error) {
	l := &s.inline
	if len(l.tasks) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := l.tasks
	l.batch, l.tasks = all, nil
	l.runs++
	if !l.ticking {
		l.ticking = true
		if l.timer == nil {
			l.timer = time.AfterFunc(stallTick, s.tick)
		} else {
			l.timer.Reset(stallTick)
		}
	}
	for len(l.batch) > 0 {
		t := l.batch[0]
		l.batch[0], l.batch = nil, l.batch[1:]
		s.mu.Unlock()
		ran := s.runWrite(t)
		s.mu.Lock()
		if ran {
			s.finishLocked(t)
		} else {
			t.state = queued
			s.launch(t)
		}
	}
	l.runs++
	if l.relief == nil {
		l.tasks = all[:0]
		return nil
	}
	relief, l.relief = l.relief, nil
	l.calm = time.Since(s.conn.life.started) + stallPause
	return relief
}

// runWrite runs a write. False leaves it to a worker, which may wait until the attachment may change the medium.
func (s *session) runWrite(t *task) bool {
	gate := s.attachment.cfg.Gate
	if gate == nil {
		s.run(t)
		return true
	}
	if !gate.Try() {
		return false
	}
	s.run(t)
	gate.Leave()
	return true
}

// tick looks whether writes in line go on since the last tick, and relieves the reader then.
func (s *session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.inline
	switch {
	case s.closed:
	case l.runs != l.seen:
		l.seen = l.runs
		l.timer.Reset(stallTick)
	case l.runs%2 == 0:
		l.ticking = false
	default:
		l.ticking = false
		s.relieve()
	}
}

// relieve makes another goroutine the reader, and leaves the writes that were not begun to workers. s.mu is held.
func (s *session) relieve() {
	l := &s.inline
	for i, t := range l.batch {
		t.state = queued
		s.launch(t)
		l.batch[i] = nil
	}
	l.batch = nil
	relief := make(chan error, 1)
	l.relief = relief
	s.sendLater()
	go func() { relief <- s.read() }()
}

// dropInline is the reader's, for writes that nobody will run any more: they were aborted, or are to be with the
// session.
func (s *session) dropInline() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range s.inline.tasks {
		if t.aborted == notAborted {
			t.aborted = abortQuietly
		}
		t.status = scsi.StatusTaskAborted
		s.finishLocked(t)
		s.inline.tasks[i] = nil
	}
	s.inline.tasks = s.inline.tasks[:0]
}

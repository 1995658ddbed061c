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
	// crowdPause is how long a command that comes alone is left to a worker after another one came before it was
	// answered.
	crowdPause = 100 * time.Millisecond
)

// inline is the commands that the reader runs itself, when the PDUs that are there have been taken in, and before
// their answers leave: writes whose medium is said to be quick, large reads that seem to be in the page cache, and reads
// and writes of any medium that come alone, from an initiator that waits for their answer: to wake a worker for them
// would double what they take. No medium keeps a promise always: the cache of a disk may be full for seconds. Where one
// takes longer than a tick, another goroutine becomes the reader, workers get the commands behind it, and the goroutine
// that waits is no more than one of them.
type inline struct {
	tasks []*task       // the reader's: to be run next
	end   [512]byte     // the reader's: of what is looked for in the page cache
	alone bool          // the one in tasks is run since it came alone; the reader's
	crowd time.Duration // since the connection's start: nothing came alone before that; the reader's

	// under session.mu
	batch   []*task // not begun of those that are run
	runs    uint64  // how often running was begun and ended: odd while it goes on
	seen    uint64  // runs at the last tick
	timer   *time.Timer
	ticking bool
	relief  chan error    // what the new reader returned, from when it began until the old one knows
	calm    time.Duration // since the connection's start: no write in line before that
}

// allowed reports whether commands that may take long can run in line now. session.mu is held.
func (l *inline) allowed(s *session) bool {
	return l.relief == nil && time.Duration(s.conn.life.last.Load()) >= l.calm
}

// stop ends the ticking. session.mu is held.
func (l *inline) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// runInline runs what is to be run in line. Where that took so long that another goroutine reads by now it returns a
// channel that has that one's result in the end: the caller is not the reader any more.
func (s *session) runInline() (relief <-chan error) {
	l := &s.inline
	if len(l.tasks) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, alone := l.tasks, l.alone
	l.batch, l.tasks, l.alone = all, nil, false
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
		if s.stillborn(t) {
			continue
		}
		s.mu.Unlock()
		ran := s.runHere(t)
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
		if alone && s.conn.peek.Some() { // it had to wait
			l.crowd = time.Since(s.conn.life.started) + crowdPause
		}
		return nil
	}
	relief, l.relief = l.relief, nil
	l.calm = time.Since(s.conn.life.started) + stallPause
	return relief
}

// comesAlone reports whether a command that is about to run is the only thing that the initiator waits for, as far as
// the reader knows. s.mu is held.
func (s *session) comesAlone(t *task) bool {
	return !t.noUnit && t.condition == 0 && (t.plan.Kind == scsi.KindRead || t.plan.Kind == scsi.KindWrite) &&
		len(s.tasks) == 1 && s.workers == 0 && !s.sending && !s.target.cfg.Limiter.limits() &&
		!s.reader.Buffered() && time.Duration(s.conn.life.last.Load()) >= s.inline.crowd
}

// runHere runs a command. False leaves it to a worker, which may wait until the attachment may change the medium.
func (s *session) runHere(t *task) bool {
	gate := s.attachment.cfg.Gate
	if gate == nil || !t.plan.Changes {
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
	go func() {
		err := s.read()
		s.shut(err) // whoever was relieved may have to wait long until it can
		relief <- err
	}()
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

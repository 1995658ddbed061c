package iscsi

import (
	"math"
	"time"

	"elstore/export/iscsi/pdu"
)

// message is something to be sent: a header that lacks its serial numbers, with data, or the answer of a task.
type message struct {
	task   *task
	header pdu.BHS
	data   []byte
	owner  *pdu.Buffer // released when data is not needed any more
	status bool        // has a StatSN of its own
	credit bool        // ends a numbered command: the window moves on
	// segment, where it is not 0, is the MaxRecvDataSegmentLength that counts for what follows.
	segment int
	// last says that nothing is sent after it.
	last bool
}

const (
	// enough is how many bytes of answers don't wait for more.
	enough = 256 << 10
	// inLine is how many bytes of answers the reader tries to send itself: as many as connections buffer.
	inLine = 4 << 20
	// maxQueue and maxWeight bound what a peer can have us queue without reading any of it. Answers of tasks
	// are bounded by their grants.
	maxQueue  = 1024
	maxWeight = 4 << 20
	// maxGather is how many bytes one write has at least before no further answer is added to it.
	maxGather = 1 << 20
)

func (s *session) post(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postLocked(m)
}

// postLocked puts a message into the queue. Somebody is to call flush, or sender, after it. s.mu is held.
func (s *session) postLocked(m message) {
	if s.closed {
		s.discard(&m)
		return
	}
	s.weight += len(m.data)
	if m.task != nil {
		s.load += m.task.length
	}
	s.queue = append(s.queue, m)
}

// discard gives back what a message holds. s.mu is held.
func (s *session) discard(m *message) {
	m.owner.Release()
	if m.task != nil {
		s.recycle(m.task)
	}
	*m = message{}
}

// heavy reports whether what the reader has put into the queue should not wait for more.
func (s *session) heavy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.load > enough || s.weight > enough
}

// flush is the reader's: what is queued is sent, by the reader itself as far as that takes no waiting.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sending || len(s.queue) == 0:
	case s.load+s.weight <= inLine:
		s.sending = true
		s.pump((*session).tryWrite)
	default:
		s.sendLater()
	}
	for (len(s.queue) > maxQueue || s.weight > maxWeight) && !s.closed && s.conn.why() == nil {
		s.eased.Wait()
	}
}

// sender sends all that is queued, unless somebody is at it.
func (s *session) sender() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending {
		return
	}
	s.sending = true
	s.pump((*session).write)
}

// sendRest goes on where the reader would have had to wait.
func (s *session) sendRest() {
	defer s.running.Done()
	s.flushWriter()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent(s.late)
	s.late = nil
	s.pump((*session).write)
}

// pump sends what is queued until nothing is, or write returns false: a goroutine has to go on then. The caller
// has set sending. s.mu is held, but while it writes.
func (s *session) pump(write func(s *session, batch []message) bool) {
	for len(s.queue) > 0 {
		batch := s.queue
		s.queue, s.spare = s.spare[:0], nil
		s.weight, s.load = 0, 0
		s.mu.Unlock()
		done := write(s, batch)
		s.mu.Lock()
		if !done && !s.closed {
			s.late = batch
			s.running.Add(1)
			go s.rest()
			return
		}
		s.sent(batch)
	}
	s.sending = false
}

// sent is called when a batch has left, or never will. s.mu is held.
func (s *session) sent(batch []message) {
	for i := range batch {
		if t := batch[i].task; t != nil {
			s.recycle(t)
		}
	}
	clear(batch)
	s.spare = batch[:0]
	s.eased.Broadcast()
}

// write encodes messages and writes them.
func (s *session) write(batch []message) bool {
	s.encode(batch, maxGather)
	s.flushWriter()
	return true
}

// tryWrite encodes messages and writes them if that takes no waiting.
func (s *session) tryWrite(batch []message) (done bool) {
	s.encode(batch, math.MaxInt)
	done, err := s.writer.TryFlush()
	s.wrote(err)
	return done
}

// encode makes PDUs of messages, and writes, however long that takes, whenever they have so many bytes.
func (s *session) encode(batch []message, gather int) {
	for i := range batch {
		m := &batch[i]
		if m.credit {
			s.maxCmdSN.Add(1)
		}
		if m.task != nil {
			s.answer(m.task)
		} else {
			h := s.writer.Begin()
			*h = m.header
			h.SetTargetSN(s.numbers(m.status))
			s.writer.End(m.data, m.owner)
			m.owner = nil
		}
		if m.segment > 0 {
			s.segment = m.segment
		}
		if s.writer.Queued() >= gather {
			s.flushWriter()
		}
		if m.last {
			s.flushWriter()
			s.kill(errLoggedOut)
		}
	}
}

func (s *session) flushWriter() { s.wrote(s.writer.Flush()) }

func (s *session) wrote(err error) {
	if err != nil {
		s.kill(err)
		return
	}
	s.flushed.Store(int64(time.Since(s.conn.life.started)))
}

// numbers are the serial numbers of what is sent next; with status it takes a StatSN.
func (s *session) numbers(status bool) pdu.TargetSN {
	n := pdu.TargetSN{StatSN: s.statSN, ExpCmdSN: s.expected(), MaxCmdSN: pdu.SN(s.maxCmdSN.Load())}
	if status {
		s.statSN++
	}
	return n
}

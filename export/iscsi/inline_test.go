package iscsi

import (
	"bytes"
	"runtime"
	"testing"

	"elstore/export/iscsi/pdu"
)

// stalled is a session one of whose writes in line is held up by the medium.
type stalled struct {
	*stage
	*peer
	stuck uint32 // its tag
	sn    pdu.SN
	open  chan struct{} // to be closed, and it goes on
}

// stall sends writes in one go, of which the second is held up.
func stall(t *testing.T, writes int) *stalled {
	t.Helper()
	s := newStage(t, withQuickDisk)
	s.attach(AttachmentConfig{})
	st := &stalled{stage: s, peer: newPeer(t, s.pipe()).login().ready(), open: make(chan struct{})}
	reached := make(chan struct{})
	s.disk.hold(func(op string, off int64) {
		if op == "write" && off == blockSize {
			close(reached)
			<-st.open
		}
	})
	var batch []byte
	for i := range writes {
		st.itt++
		h := st.header(write10(i, 1, bytes.Repeat([]byte{byte(i + 1)}, blockSize)))
		if i == 1 {
			st.stuck, st.sn = st.itt, h.CmdSN()
		}
		batch = pdu.Append(batch, &h, nil, bytes.Repeat([]byte{byte(i + 1)}, blockSize), false, false)
	}
	if _, err := st.conn.Write(batch); err != nil {
		t.Fatal(err)
	}
	<-reached
	return st
}

// TestAWriteInLineThatStalls: everything goes on but the write itself.
func TestAWriteInLineThatStalls(t *testing.T) {
	const writes = 8
	st := stall(t, writes)
	ended := map[uint32]bool{}
	for range writes - 1 {
		r := st.want(pdu.OpSCSIResponse)
		ended[r.h.InitiatorTaskTag()] = true
	}
	if len(ended) != writes-1 || ended[st.stuck] {
		t.Errorf("writes %v ended, and %d is held up", ended, st.stuck)
	}
	st.nop()
	if e := st.do(read10(2, 1)); e.status != 0 || !bytes.Equal(e.data, bytes.Repeat([]byte{3}, blockSize)) {
		t.Errorf("a read meanwhile: %v", e)
	}
	if e := st.do(write10(20, 1, make([]byte, blockSize))); e.status != 0 {
		t.Errorf("a write meanwhile: %v", e)
	}
	close(st.open)
	if e := st.finish(st.stuck); e.status != 0 {
		t.Errorf("the write in the end: %v", e)
	}
	for i := range 4 { // the new reader, and writes of which none is in line for a while
		if e := st.do(write10(30+i, 1, make([]byte, blockSize))); e.status != 0 {
			t.Errorf("a write afterwards: %v", e)
		}
	}
	for i := range writes {
		if got := st.disk.bytes(i*blockSize, blockSize); !bytes.Equal(got, bytes.Repeat([]byte{byte(i + 1)}, blockSize)) {
			t.Errorf("write %d is not on the disk", i)
		}
	}
}

func TestAStalledWriteIsAborted(t *testing.T) {
	st := stall(t, 2)
	st.want(pdu.OpSCSIResponse) // the first
	st.manage(pdu.AbortTask, st.stuck, st.sn)
	st.nop() // nothing is answered as long as it may change the medium
	close(st.open)
	if got := st.managed(); got != pdu.FunctionComplete {
		t.Errorf("ABORT TASK: %v", got)
	}
	st.nop()
}

// TestTheConnectionEndsInAStall: the session ends when the write has.
func TestTheConnectionEndsInAStall(t *testing.T) {
	for name, relieved := range map[string]bool{"at once": false, "with another reader": true} {
		t.Run(name, func(t *testing.T) {
			st := stall(t, 4)
			if relieved {
				for range 3 {
					st.want(pdu.OpSCSIResponse)
				}
				st.nop()
			}
			sessions := st.server.sessions()
			st.conn.Close()
			st.closed()
			select {
			case <-sessions[0].gone:
				t.Error("the session ended before its write")
			default:
			}
			close(st.open)
			<-sessions[0].gone
		})
	}
}

// TestLogoutWithWritesInLine sends both in one go: the writes that were not begun never are, or end before.
func TestLogoutWithWritesInLine(t *testing.T) {
	s := newStage(t, withQuickDisk)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	var batch []byte
	for i := range 4 {
		p.itt++
		h := p.header(write10(i, 1, make([]byte, blockSize)))
		batch = pdu.Append(batch, &h, nil, make([]byte, blockSize), false, false)
	}
	p.itt++
	l := pdu.Logout{Reason: pdu.CloseSession, InitiatorTaskTag: p.itt, CmdSN: p.cmdSN}
	var h pdu.BHS
	l.Encode(&h)
	if _, err := p.conn.Write(pdu.Append(batch, &h, nil, nil, false, false)); err != nil {
		t.Fatal(err)
	}
	for {
		if r := p.next(); r.h.Opcode() == pdu.OpLogoutResponse {
			break
		}
	}
	p.closed()
}

// TestCommandsThatComeAlone: one at a time is run by the reader, and whoever sends the next before the answer has
// both at the medium soon.
func TestCommandsThatComeAlone(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	conn, theirs := socketPair(t)
	s.server.Take(theirs)
	p := newPeer(t, conn).login().ready()
	reader := make(chan bool, 1)
	session := s.server.sessions()[0]
	s.disk.hold(func(string, int64) {
		session.mu.Lock()
		defer session.mu.Unlock()
		reader <- session.workers == 0
	})
	for _, c := range []command{read10(1, 1), write10(2, 1, make([]byte, blockSize))} {
		for session.busy() { // with what the login or the last one left to do
			runtime.Gosched()
		}
		if e := p.do(c); e.status != 0 {
			t.Fatalf("it ended with %v", e)
		}
		if !<-reader {
			t.Error("a worker ran it")
		}
	}
	reached, open := make(chan struct{}, 2), make(chan struct{})
	s.disk.hold(func(_ string, off int64) {
		reached <- struct{}{}
		if off == blockSize {
			<-open
		}
	})
	first := p.start(read10(1, 1))
	<-reached
	second := p.start(read10(2, 1)) // the reader is stuck, and another one has it run
	<-reached
	p.finish(second)
	close(open)
	p.finish(first)
}

// TestACrowd: where a command came while another was run alone, the next ones are the workers'.
func TestACrowd(t *testing.T) {
	s := newStage(t)
	s.attach(AttachmentConfig{})
	conn, theirs := socketPair(t)
	s.server.Take(theirs)
	p := newPeer(t, conn).login().ready()
	peek := pdu.NewPeek(theirs)
	reached, here := make(chan struct{}), make(chan int, 1)
	session := s.server.sessions()[0]
	relieved := func() bool {
		session.mu.Lock()
		defer session.mu.Unlock()
		return session.inline.relief != nil
	}
	s.disk.hold(func(string, int64) {
		s.disk.hold(func(string, int64) {
			session.mu.Lock()
			defer session.mu.Unlock()
			here <- session.workers
		})
		close(reached)
		for !peek.Some() && !relieved() {
			runtime.Gosched()
		}
	})
	for session.busy() {
		runtime.Gosched()
	}
	first := p.start(read10(1, 1))
	<-reached
	second := p.start(read10(2, 1))
	p.finish(first)
	p.finish(second)
	if <-here == 0 {
		t.Error("the command that had to wait is run by the reader: there are no workers")
	}
}

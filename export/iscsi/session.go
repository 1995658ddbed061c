package iscsi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// session is a session with its one connection.
//
// The goroutine of the connection reads and has what stands under "reader". What the sender has belongs to
// whoever set sending. The rest is under mu; nothing is waited for while that is held.
type session struct {
	server     *Server
	conn       *conn
	target     *Target // nil in a discovery session
	attachment *Attachment
	nexus      *scsi.Nexus
	result     login.Result
	tsih       uint16
	since      time.Time
	gone       chan struct{} // closed when nothing is left of it
	rest       func()        // s.sendRest, the same
	work       func()        // s.worker: a method value is allocated, and go with a call too
	send       func()        // s.sender, as a goroutine that ending waits for

	// reader
	reader *pdu.Reader
	begun  bool
	text   *login.Text
	rules  pdu.Rules
	early  []early // commands beyond a gap, by CmdSN
	inline inline  // partly under mu

	expCmdSN, maxCmdSN atomic.Uint32 // changed by the reader, and by the sender
	orders             atomic.Bool   // a command had the attribute ORDERED
	flushed            atomic.Int64  // when the sender got something off last, in nanoseconds of conn.life

	// sender
	writer  *pdu.Writer
	statSN  pdu.SN
	segment int // the initiator's MaxRecvDataSegmentLength

	running sync.WaitGroup // goroutines but the reader; none is added once closed

	mu      sync.Mutex
	closed  bool
	leaving bool // it logs out: its nexus is about to be lost
	sending bool
	queue   []message
	spare   []message  // what the sender had last
	late    []message  // what the reader could not send without waiting
	weight  int        // bytes that messages of the queue hold, but for those of tasks
	load    int        // bytes that the answers of tasks in the queue have
	eased   *sync.Cond // the queue got shorter

	tasks      map[uint32]*task // by Initiator Task Tag
	visits     map[*task]struct{}
	free       *task
	lastSeq    uint64
	ordered    int // tasks with the attribute ORDERED
	immediates int // tasks that came as immediate commands
	workers    int
	granted    int64 // bytes that tasks have reserved
	charged    int64 // bytes that came unasked
	pending    taskQueue
	blocked    taskQueue
	ready      taskQueue
	lastTag    uint32 // Target Transfer Tag
	pings      pings
}

func newSession(c *conn, r login.Result) *session {
	s := &session{
		server: c.server, conn: c, result: r, since: time.Now().UTC(), gone: make(chan struct{}), tasks: make(map[uint32]*task), visits: make(map[*task]struct{}),
		sending: true, // nobody sends before the login is over
	}
	s.eased = sync.NewCond(&s.mu)
	s.work = s.worker
	s.rest = s.sendRest
	s.send = func() {
		defer s.running.Done()
		s.sender()
	}
	return s
}

// start takes over the connection after the last response of the login.
func (s *session) start(cfg *login.Config, r login.Result, l login.Lister, reader *pdu.Reader, writer *pdu.Writer) {
	s.reader, s.writer = reader, writer
	s.text = login.NewText(cfg, &s.result, l)
	p := &s.result.Params
	s.rules = pdu.Rules{
		MaxRecvDataSegmentLength: p.TargetMaxRecvDataSegmentLength, FirstBurstLength: p.FirstBurstLength,
		InitialR2T: p.InitialR2T, ImmediateData: p.ImmediateData,
	}
	reader.SetLimits(pdu.Limits{
		MaxRecvDataSegmentLength: p.TargetMaxRecvDataSegmentLength,
		HeaderDigest:             p.HeaderDigest, DataDigest: p.DataDigest,
	})
	writer.SetDigests(p.HeaderDigest, p.DataDigest)
	s.statSN, s.segment = r.StatSN, p.MaxRecvDataSegmentLength
	s.expCmdSN.Store(uint32(r.CmdSN))
	s.maxCmdSN.Store(uint32(r.MaxCmdSN))
}

func (s *session) peer() *login.Peer { return &s.result.Peer }

// isPort reports whether a peer is the same initiator port; section 4.4.3.
func (s *session) isPort(p *login.Peer) bool {
	return s.result.Peer.InitiatorName == p.InitiatorName && s.result.Peer.ISID == p.ISID
}

// kill ends the session soon.
func (s *session) kill(why error) { s.conn.kill(why) }

// begin is called when the full feature phase begins.
func (s *session) begin() {
	s.server.cfg.Log.Info("iscsi session began", slog.String("target", string(s.peer().TargetName)),
		slog.String("initiator", string(s.peer().InitiatorName)), slog.String("isid", s.peer().ISID.String()),
		slog.Int("tsih", int(s.tsih)), slog.Bool("discovery", s.peer().Discovery),
		slog.String("remote", s.conn.net.RemoteAddr().String()))
	s.begun = true
	s.notify(true)
	s.keepAlive()
	s.mu.Lock()
	s.sending = false
	s.mu.Unlock()
	s.sender()
}

// shut ends all that has not begun. It may be called again, and waits for nothing.
func (s *session) shut(err error) {
	s.kill(err)
	s.mu.Lock()
	s.closed = true
	s.pings.stop()
	s.inline.stop()
	s.eased.Broadcast()
	s.mu.Unlock()
	s.abort(newWaiter(), func(*task) bool { return true }, abortQuietly)
}

// end takes the session apart. It returns once no command of it runs, and it holds nothing any more.
func (s *session) end(err error) {
	s.shut(err)
	why := s.conn.why()
	if errors.Is(why, io.EOF) || errors.Is(why, errLoggedOut) {
		why = nil
	}
	s.running.Wait()
	s.mu.Lock()
	for i := range s.queue {
		s.discard(&s.queue[i])
	}
	s.queue = nil
	s.mu.Unlock()
	for i := range s.early {
		s.early[i].buf.Release()
	}
	if s.target != nil {
		s.nexus.Detach()
		s.target.mu.Lock()
		delete(s.target.sessions, s)
		s.target.mu.Unlock()
	}
	s.server.freeTSIH(s)
	s.server.cfg.Log.Info("iscsi session ended", slog.String("target", string(s.peer().TargetName)),
		slog.String("initiator", string(s.peer().InitiatorName)), slog.Int("tsih", int(s.tsih)), slog.Any("reason", why))
	if s.begun {
		s.notify(false)
	}
	close(s.gone)
}

// spawn runs f beside the reader, unless the session ends. Ending waits for it.
func (s *session) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// sendLater has what is queued sent by a goroutine of its own. s.mu is held.
func (s *session) sendLater() {
	if !s.closed && !s.sending {
		s.running.Add(1)
		go s.send()
	}
}

// abortByOther is what the logical unit calls when another nexus, or fencing, aborts the tasks of this one.
func (s *session) abortByOther(ctx context.Context) {
	w := newWaiter()
	s.abort(w, func(*task) bool { return true }, abortWithStatus)
	s.mu.Lock()
	s.sendLater()
	s.mu.Unlock()
	select {
	case <-w.wait():
	case <-ctx.Done():
	}
}

package iscsi

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// The cast of the tests.
const (
	targetName    = pdu.Name("iqn.2004-10.cloud.elemento:01:0123456789abcdef0123456789abcdef")
	initiatorName = "iqn.1993-08.org.debian:01:a3f2b5e5c7d"
	blockSize     = 512
	diskBlocks    = 8192
)

// ram is a disk in memory whose reads and writes can be held up.
type ram struct {
	mu     sync.Mutex
	data   []byte
	writes int // that landed

	// block, where it is set, is called by every read and write before it does anything.
	block func(op string, off int64)
}

func newRAM() *ram { return &ram{data: make([]byte, diskBlocks*blockSize)} }

func (r *ram) hold(block func(op string, off int64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.block = block
}

func (r *ram) enter(op string, off int64) {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil {
		block(op, off)
	}
}

func (r *ram) ReadAt(p []byte, off int64) (int, error) {
	r.enter("read", off)
	r.mu.Lock()
	defer r.mu.Unlock()
	return copy(p, r.data[off:]), nil
}

func (r *ram) WriteAt(p []byte, off int64) (int, error) {
	r.enter("write", off)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	return copy(r.data[off:], p), nil
}

func (r *ram) Flush(context.Context) error { return nil }

func (r *ram) WriteZeroes(off, length int64, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.data[off : off+length])
	return nil
}

func (r *ram) Size() int64 { return diskBlocks * blockSize }

func (r *ram) landed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

func (r *ram) bytes(off, n int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]byte(nil), r.data[off:off+n]...)
}

// quick is a ram that is never waited for.
type quick struct{ *ram }

func (q quick) ReadNow(p []byte, off int64) bool { _, _ = q.ReadAt(p, off); return true }
func (q quick) WritesNow(int64) bool             { return true }

// paged is a quick whose content goes to connections through pipes.
type paged struct {
	quick

	most    int64 // bytes that one Splice takes; 0 is no limit, less than that has it fail
	spliced atomic.Int64
}

func (p *paged) Splice(fd int, off, length int64) int64 {
	if p.most != 0 {
		length = min(length, p.most)
	}
	if length < 0 {
		return 0
	}
	p.enter("splice", off)
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := unix.Write(fd, p.data[off:min(off+length, int64(len(p.data)))])
	if err != nil {
		return 0
	}
	p.spliced.Add(int64(n))
	return int64(n)
}

// stage is a server with one target.
type stage struct {
	t      testing.TB
	server *Server
	target *Target
	disk   *ram
	unit   *scsi.LogicalUnit
}

type option func(*Config, *TargetConfig)

func withQuickDisk(_ *Config, t *TargetConfig) { t.Device = quick{t.Device.(*ram)} }

func withPages(_ *Config, t *TargetConfig) { t.Device = &paged{quick: quick{t.Device.(*ram)}} }

func newStage(t testing.TB, options ...option) *stage {
	t.Helper()
	disk := newRAM()
	cfg, target := Config{}, TargetConfig{Name: targetName, Device: disk}
	for _, o := range options {
		o(&cfg, &target)
	}
	unit, err := scsi.New(t.Context(), scsi.Config{Device: target.Device, ID: scsi.ID{1}, Thin: true})
	if err != nil {
		t.Fatal(err)
	}
	target.Unit = unit
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	added, err := s.AddTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := s.granted.Load(); n != 0 {
			t.Errorf("%d bytes are still granted", n)
		}
	})
	return &stage{t: t, server: s, target: added, disk: disk, unit: unit}
}

func (s *stage) attach(cfg AttachmentConfig) *Attachment {
	s.t.Helper()
	a, err := s.target.Attach(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// pipe connects to the server, through a socket where pages are to go through it.
func (s *stage) pipe() net.Conn {
	if s.target.pages != nil {
		ours, theirs := socketPair(s.t)
		s.server.Take(theirs)
		return ours
	}
	ours, theirs := net.Pipe()
	s.server.Take(theirs)
	return ours
}

// reply is a PDU of the target.
type reply struct {
	h    pdu.BHS
	data []byte
}

// peer plays an initiator. What the target sends is gathered by a goroutine.
type peer struct {
	t       testing.TB
	conn    net.Conn
	keys    map[string]string // to offer in the login, over the usual ones
	isid    pdu.ISID
	name    string
	got     chan reply
	ended   chan struct{}
	cmdSN   pdu.SN
	itt     uint32
	tsih    uint16
	status  pdu.LoginStatus
	digests atomic.Bool
	maxCmd  pdu.SN
	exp     pdu.SN
}

func newPeer(t testing.TB, conn net.Conn) *peer { return newSlowPeer(t, conn, 4096) }

// newSlowPeer reads no further than so many PDUs ahead of what the test asked for.
func newSlowPeer(t testing.TB, conn net.Conn, ahead int) *peer {
	p := &peer{
		t: t, conn: conn, isid: pdu.ISID{0x00, 0x02, 0x3d, 0x01}, name: initiatorName,
		keys: map[string]string{}, got: make(chan reply, ahead), ended: make(chan struct{}), cmdSN: 100,
	}
	t.Cleanup(func() {
		conn.Close()
		for {
			select {
			case <-p.got:
			case <-p.ended:
				return
			}
		}
	})
	go p.gather()
	return p
}

func (p *peer) gather() {
	defer close(p.ended)
	r := pdu.NewReader(p.conn)
	defer r.Close()
	r.SetLimits(pdu.Limits{MaxRecvDataSegmentLength: 1 << 20})
	for {
		in, err := r.Next()
		if err != nil {
			return
		}
		p.got <- reply{*in.BHS, append([]byte(nil), in.Data...)}
		if in.BHS.Opcode() == pdu.OpLoginResponse && in.BHS.Final() && in.BHS[1]&3 == 3 {
			on := p.digests.Load()
			r.SetLimits(pdu.Limits{MaxRecvDataSegmentLength: 1 << 20, HeaderDigest: on, DataDigest: on})
		}
	}
}

// send sends a PDU as it is.
func (p *peer) send(h *pdu.BHS, data []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(pdu.Append(nil, h, nil, data, p.digests.Load(), p.digests.Load())); err != nil {
		p.t.Fatalf("send %v: %v", h.Opcode(), err)
	}
}

// next returns the next PDU of the target, or fails where the connection ended.
func (p *peer) next() reply {
	p.t.Helper()
	select {
	case r := <-p.got:
		p.note(&r.h)
		return r
	case <-p.ended:
		select {
		case r := <-p.got:
			p.note(&r.h)
			return r
		default:
		}
		p.t.Fatal("the connection ended")
	}
	panic("not reached")
}

func (p *peer) note(h *pdu.BHS) {
	var n pdu.NOPIn // the numbers are at the same place everywhere
	n.Decode(h)
	p.exp, p.maxCmd = n.ExpCmdSN, n.MaxCmdSN
}

// want returns the next PDU, which has to be of a kind.
func (p *peer) want(op pdu.Opcode) reply {
	p.t.Helper()
	r := p.next()
	if r.h.Opcode() != op {
		p.t.Fatalf("got %v, want %v: % x %q", r.h.Opcode(), op, r.h[:], r.data)
	}
	return r
}

// login logs in, without CHAP, and returns the peer.
func (p *peer) login() *peer {
	p.t.Helper()
	if p.tryLogin(); p.status != pdu.Success {
		p.t.Fatalf("the login ended with %v", p.status)
	}
	return p
}

func (p *peer) tryLogin() pdu.LoginStatus {
	p.t.Helper()
	keys := map[string]string{
		"InitiatorName": p.name, "TargetName": string(targetName), "SessionType": "Normal",
		"HeaderDigest": "None", "DataDigest": "None", "InitialR2T": "No", "ImmediateData": "Yes",
		"MaxRecvDataSegmentLength": "65536", "MaxBurstLength": "131072", "FirstBurstLength": "65536",
		"MaxOutstandingR2T": "2",
	}
	for k, v := range p.keys {
		if keys[k] = v; v == "" {
			delete(keys, k)
		}
	}
	var text []byte
	for k, v := range keys {
		text = pdu.AppendPair(text, k, v)
	}
	l := pdu.Login{
		Transit: true, CSG: pdu.OperationalNegotiation, NSG: pdu.FullFeaturePhase, ISID: p.isid,
		InitiatorTaskTag: 1, CID: 1, CmdSN: p.cmdSN,
	}
	var h pdu.BHS
	l.Encode(&h)
	p.digests.Store(keys["HeaderDigest"] == "CRC32C")
	if _, err := p.conn.Write(pdu.Append(nil, &h, nil, text, false, false)); err != nil {
		p.t.Fatal(err)
	}
	var r pdu.LoginResponse
	in := p.want(pdu.OpLoginResponse)
	r.Decode(&in.h)
	p.status, p.tsih = r.Status, r.TSIH
	p.itt = 10
	return p.status
}

// command is a SCSI command to send.
type command struct {
	cdb       []byte
	lun       uint64
	read      bool
	write     bool
	expected  int
	data      []byte // immediate
	more      bool   // unsolicited Data-Out follows
	attr      pdu.Attribute
	immediate bool
	cmdSN     pdu.SN // the next one, if it is 0
}

// start sends a command and returns its tag.
func (p *peer) start(c command) uint32 {
	p.t.Helper()
	p.itt++
	h := p.header(c)
	p.send(&h, c.data)
	return p.itt
}

func (p *peer) header(c command) (h pdu.BHS) {
	sn := p.cmdSN
	if c.cmdSN != 0 {
		sn = c.cmdSN
	} else if !c.immediate {
		p.cmdSN++
	}
	s := pdu.SCSICommand{
		Final: !c.more, Read: c.read, Write: c.write, Attr: c.attr, LUN: c.lun, InitiatorTaskTag: p.itt,
		ExpectedDataTransferLength: uint32(c.expected), CmdSN: sn, Immediate: c.immediate,
	}
	copy(s.CDB[:], c.cdb)
	s.Encode(&h)
	return h
}

// dataOut sends a Data-Out.
func (p *peer) dataOut(itt, ttt uint32, sn pdu.SN, off int, data []byte, final bool) {
	p.t.Helper()
	d := pdu.DataOut{Final: final, InitiatorTaskTag: itt, TargetTransferTag: ttt, DataSN: sn, BufferOffset: uint32(off)}
	var h pdu.BHS
	d.Encode(&h)
	p.send(&h, data)
}

// end is how a command ended.
type end struct {
	status   uint8
	sense    []byte
	data     []byte
	over     bool
	under    bool
	residual uint32
}

func (e end) String() string {
	s := fmt.Sprintf("status %#02x", e.status)
	if len(e.sense) > 13 {
		s += fmt.Sprintf(" sense %x/%02x/%02x", e.sense[2], e.sense[12], e.sense[13])
	}
	if e.over || e.under {
		s += fmt.Sprintf(" over %v under %v %d", e.over, e.under, e.residual)
	}
	return s
}

// finish gathers the answer of one command, which is the only one.
func (p *peer) finish(itt uint32) end {
	p.t.Helper()
	var e end
	for {
		r := p.next()
		if r.h.InitiatorTaskTag() != itt {
			p.t.Fatalf("got %v of task %d, want one of %d", r.h.Opcode(), r.h.InitiatorTaskTag(), itt)
		}
		switch r.h.Opcode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			d.Decode(&r.h)
			if int(d.BufferOffset) != len(e.data) {
				p.t.Fatalf("Data-In at %d, want %d", d.BufferOffset, len(e.data))
			}
			e.data = append(e.data, r.data...)
			if d.HasStatus {
				e.status, e.over, e.under, e.residual = d.Status, d.Overflow, d.Underflow, d.ResidualCount
				return e
			}
		case pdu.OpSCSIResponse:
			var d pdu.SCSIResponse
			d.Decode(&r.h)
			e.status, e.over, e.under, e.residual = d.Status, d.Overflow, d.Underflow, d.ResidualCount
			e.sense, _ = pdu.Sense(r.data)
			return e
		default:
			p.t.Fatalf("got %v", r.h.Opcode())
		}
	}
}

// do runs a command to its end.
func (p *peer) do(c command) end {
	p.t.Helper()
	return p.finish(p.start(c))
}

// ready sends TEST UNIT READY until no unit attention is pending.
func (p *peer) ready() *peer {
	p.t.Helper()
	for range 4 {
		if e := p.do(command{cdb: []byte{0}}); e.status == 0 {
			return p
		}
	}
	p.t.Fatal("the unit does not get ready")
	return nil
}

func read10(lba, blocks int) command {
	return command{cdb: cdb10(0x28, lba, blocks), read: true, expected: blocks * blockSize}
}

func write10(lba, blocks int, data []byte) command {
	return command{cdb: cdb10(0x2a, lba, blocks), write: true, expected: blocks * blockSize, data: data}
}

func cdb10(op byte, lba, blocks int) []byte {
	return []byte{op, 0, byte(lba >> 24), byte(lba >> 16), byte(lba >> 8), byte(lba), 0, byte(blocks >> 8), byte(blocks), 0}
}

// pattern makes n bytes that tell where they are.
func pattern(n, seed int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>9 + seed)
	}
	return p
}

// manage sends a task management function and returns its tag.
func (p *peer) manage(f pdu.Function, ref uint32, refSN pdu.SN) uint32 {
	p.t.Helper()
	p.itt++
	r := pdu.TaskMgmt{Immediate: true, Function: f, InitiatorTaskTag: p.itt, ReferencedTaskTag: ref, RefCmdSN: refSN, CmdSN: p.cmdSN}
	var h pdu.BHS
	r.Encode(&h)
	p.send(&h, nil)
	return p.itt
}

// managed waits for the answer to a task management function.
func (p *peer) managed() pdu.FunctionResponse {
	p.t.Helper()
	var r pdu.TaskMgmtResponse
	in := p.want(pdu.OpTaskMgmtResponse)
	r.Decode(&in.h)
	return r.Response
}

// closed waits for the end of the connection, which may bring PDUs before.
func (p *peer) closed() { <-p.ended }

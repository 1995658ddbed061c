package iscsi

import (
	"io"
	"net"
	"testing"

	"elstore/export/iscsi/pdu"
)

// socketPair is a TCP connection of this machine with itself.
func socketPair(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- c
	}()
	var dialer net.Dialer
	if ours, err = dialer.DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return ours, <-accepted
}

// driver sends the same commands again and again, and reads past the answers.
type driver struct {
	conn  net.Conn
	batch []byte // one round of commands
	sns   []int  // where their CmdSNs stand
	sn    pdu.SN
	in    []byte
}

func newDriver(p *peer, depth, answer int, next func(i int) command) *driver {
	d := &driver{conn: p.conn, sn: p.cmdSN}
	for i := range depth {
		p.itt = uint32(1000 + i)
		c := next(i)
		h := p.header(c)
		d.sns = append(d.sns, len(d.batch)+24)
		d.batch = pdu.Append(d.batch, &h, nil, c.data, false, false)
	}
	d.in = make([]byte, depth*answer)
	return d
}

// round runs one batch.
func (d *driver) round(b testing.TB) {
	for _, at := range d.sns {
		for i := range 4 {
			d.batch[at+i] = byte(d.sn >> (24 - 8*i))
		}
		d.sn++
	}
	if _, err := d.conn.Write(d.batch); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(d.conn, d.in); err != nil {
		b.Fatal(err)
	}
}

// tcpPeer logs in over TCP. Its answers are read by the driver.
func (s *stage) tcpPeer() *peer {
	ours, theirs := socketPair(s.t)
	s.server.Take(theirs)
	p := &peer{
		t: s.t, conn: ours, name: initiatorName, keys: map[string]string{}, got: make(chan reply, 1),
		ended: make(chan struct{}), cmdSN: 100,
	}
	s.t.Cleanup(func() { ours.Close() })
	p.keys["MaxRecvDataSegmentLength"] = "262144"
	p.keys["MaxBurstLength"] = "1048576"
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var h pdu.BHS
		if _, err := io.ReadFull(ours, h[:]); err != nil {
			return
		}
		n := h.DataSegmentLength()
		data := make([]byte, n+pdu.Padding(n))
		if _, err := io.ReadFull(ours, data); err == nil {
			p.got <- reply{h, data}
		}
	}()
	p.login()
	<-answered
	for range 2 { // unit attentions
		d := newDriver(p, 1, 0, func(int) command { return command{cdb: []byte{0}} })
		p.cmdSN--
		d.sn = p.cmdSN
		d.round(s.t)
		p.cmdSN = d.sn
		var h pdu.BHS
		if _, err := io.ReadFull(ours, h[:]); err != nil {
			s.t.Fatal(err)
		}
		n := h.DataSegmentLength()
		if _, err := io.ReadFull(ours, make([]byte, n+pdu.Padding(n))); err != nil {
			s.t.Fatal(err)
		}
	}
	return p
}

// load is commands that are sent together, again and again.
type load struct {
	name   string
	depth  int
	bytes  int // of each command
	answer int // bytes of each answer
	next   func(i int) command
}

var loads = []load{
	{"read 4K depth 1", 1, 4096, pdu.BHSLength + 4096, func(int) command { return read10(0, 8) }},
	{"read 4K depth 32", 32, 4096, pdu.BHSLength + 4096, func(i int) command { return read10(8*i, 8) }},
	{"read 1M depth 4", 4, 1 << 20, 4*pdu.BHSLength + 1<<20, func(i int) command { return read10(2048*i, 2048) }},
	{"write 4K depth 1", 1, 4096, pdu.BHSLength, func(int) command { return write10(0, 8, make([]byte, 4096)) }},
	{"write 4K depth 32", 32, 4096, pdu.BHSLength, func(i int) command { return write10(8*i, 8, make([]byte, 4096)) }},
}

// start returns a driver of the load that has warmed up.
func (l *load) start(t testing.TB, options ...option) *driver {
	t.Helper()
	s := newStage(t, options...)
	s.attach(AttachmentConfig{})
	p := s.tcpPeer()
	d := newDriver(p, l.depth, l.answer, l.next)
	d.sn = p.cmdSN - pdu.SN(l.depth)
	for range 20 {
		d.round(t)
	}
	return d
}

func BenchmarkConn(b *testing.B) {
	for _, l := range loads {
		for name, options := range map[string][]option{"workers": nil, "in line": {withQuickDisk}, "pages": {withPages}} {
			b.Run(l.name+" "+name, func(b *testing.B) {
				d := l.start(b, options...)
				b.SetBytes(int64(l.depth * l.bytes))
				b.ReportAllocs()
				for b.Loop() {
					d.round(b)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*l.depth), "ns/command")
			})
		}
	}
}

// TestNothingIsAllocatedPerCommand allows for pools that a garbage collection empties meanwhile.
func TestNothingIsAllocatedPerCommand(t *testing.T) {
	if raceEnabled {
		return // pools drop things at random then
	}
	for _, l := range loads {
		t.Run(l.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, options ...option) {
				d := l.start(t, options...)
				if n := testing.AllocsPerRun(200, func() { d.round(t) }); n/float64(l.depth) >= 0.5 {
					t.Errorf("%v allocations in %d commands", n, l.depth)
				}
			})
		})
	}
}

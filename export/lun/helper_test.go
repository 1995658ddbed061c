package lun

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/iscsi/pdu"
	"elstore/test/rig"
	"elstore/volume"
)

var (
	alice = rig.Alice
	bob   = rig.Bob
)

// server is a server's exports, over pipes.
type server struct {
	*rig.Parts
	t       testing.TB
	root    string
	id      string
	iscsi   *iscsi.Server
	exports *export.Service
	kind    *Kind
	chap    bool          // asked for from the next start on
	shared  bool          // the pool is another server's too
	boot    string        // of another host than this one
	beside  []export.Kind // other kinds
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, root: t.TempDir(), id: volume.NewID().String()}
	rig.Pool(t, s.root, "pool", `{}`)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.Parts = rig.Assemble(s.t, s.root, nil)
	var err error
	if s.iscsi, err = iscsi.New(iscsi.Config{}); err != nil {
		s.t.Fatal(err)
	}
	if s.kind, err = New(Config{Server: s.iscsi, Portals: []string{"192.0.2.1:3260", "[2001:db8::1]:3260"}, NoCHAP: !s.chap}); err != nil {
		s.t.Fatal(err)
	}
	s.kind.bootID = cmp.Or(s.boot, s.kind.bootID)
	s.exports, err = export.New(export.Config{
		Volumes: s.Volumes, Events: s.Events, Log: slog.New(slog.DiscardHandler), ServerID: s.id, Kinds: append([]export.Kind{s.kind}, s.beside...),
		Shared: func(string) bool { return s.shared },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	target, exports := s.iscsi, s.exports
	s.t.Cleanup(func() {
		_ = target.Close()
		_ = exports.Close(s.t.Context())
	})
}

// restart ends everything as a crash does, and starts it again.
func (s *server) restart() {
	s.t.Helper()
	if err := errors.Join(s.iscsi.Close(), s.Volumes.Close(), s.Pools.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	s.exports.Restore(s.t.Context())
}

func (s *server) create(change ...func(*volume.Meta)) volume.ID {
	s.t.Helper()
	return s.Disk(s.t, change...)
}

func (s *server) export(id volume.ID, c volume.Client, initiator string) *export.Answer {
	s.t.Helper()
	a, err := s.exports.Export(s.t.Context(), export.Request{Volume: id, Client: c, Initiator: initiator})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *server) image(id volume.ID) []byte {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", "data.img"))
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// initiator plays one. What comes is gathered, so that the server is never held up.
type initiator struct {
	t    testing.TB
	conn net.Conn
	sn   pdu.SN
	got  chan reply
	end  chan struct{}
}

type reply struct {
	h    pdu.BHS
	data []byte
}

// login logs in to a target, or returns nil where it is refused.
func (s *server) login(name, target string) *initiator {
	s.t.Helper()
	ours, theirs := net.Pipe()
	s.iscsi.Take(theirs)
	i := &initiator{t: s.t, conn: ours, sn: 1, got: make(chan reply, 4096), end: make(chan struct{})}
	s.t.Cleanup(func() { ours.Close() })
	go i.gather()
	var text []byte
	for k, v := range map[string]string{
		"InitiatorName": name, "TargetName": target, "SessionType": "Normal", "InitialR2T": "No", "ImmediateData": "Yes",
		"HeaderDigest": "None", "DataDigest": "None", "MaxRecvDataSegmentLength": "65536", "FirstBurstLength": "65536",
	} {
		text = pdu.AppendPair(text, k, v)
	}
	l := pdu.Login{
		Transit: true, CSG: pdu.OperationalNegotiation, NSG: pdu.FullFeaturePhase, ISID: pdu.ISID{0, 2, 0x3d, 1},
		InitiatorTaskTag: 1, CID: 1, CmdSN: i.sn,
	}
	var h pdu.BHS
	l.Encode(&h)
	i.send(&h, text)
	r, ok := i.next()
	var answer pdu.LoginResponse
	if ok {
		answer.Decode(&r.h)
	}
	if !ok || answer.Status != pdu.Success {
		return nil
	}
	for range 2 { // the unit attention of the login
		i.run([]byte{0}, nil)
	}
	return i
}

func (i *initiator) gather() {
	defer close(i.end)
	r := pdu.NewReader(i.conn)
	defer r.Close()
	r.SetLimits(pdu.Limits{MaxRecvDataSegmentLength: 1 << 20})
	for {
		in, err := r.Next()
		if err != nil {
			return
		}
		i.got <- reply{*in.BHS, append([]byte(nil), in.Data...)}
	}
}

func (i *initiator) send(h *pdu.BHS, data []byte) {
	_, _ = i.conn.Write(pdu.Append(nil, h, nil, data, false, false)) // who is gone does not answer
}

// next returns what comes next; false: the connection ended.
func (i *initiator) next() (reply, bool) {
	i.t.Helper()
	select {
	case r := <-i.got:
		return r, true
	case <-i.end:
		select {
		case r := <-i.got:
			return r, true
		default:
			return reply{}, false
		}
	case <-time.After(time.Minute):
		i.t.Fatal("no answer")
		return reply{}, false
	}
}

// command sends a command with immediate data.
func (i *initiator) command(cdb, data []byte) {
	c := pdu.SCSICommand{
		Final: true, Read: data == nil, Write: data != nil, InitiatorTaskTag: 100 + uint32(i.sn), ExpectedDataTransferLength: uint32(len(data)), CmdSN: i.sn,
	}
	if data == nil {
		c.ExpectedDataTransferLength = 4096
	}
	i.sn++
	copy(c.CDB[:], cdb)
	var h pdu.BHS
	c.Encode(&h)
	i.send(&h, data)
}

// run runs a command alone and returns its status, and the data that it gave; 0xff where the connection ended.
func (i *initiator) run(cdb, data []byte) (status uint8, in []byte) {
	i.t.Helper()
	i.command(cdb, data)
	for {
		r, ok := i.next()
		if !ok {
			return 0xff, nil
		}
		switch r.h.Opcode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			d.Decode(&r.h)
			in = append(in, r.data...)
			if d.HasStatus {
				return d.Status, in
			}
		case pdu.OpSCSIResponse:
			var d pdu.SCSIResponse
			d.Decode(&r.h)
			return d.Status, in
		default:
			i.t.Fatalf("got %v", r.h.Opcode())
		}
	}
}

func write10(lba, blocks int) []byte {
	return []byte{0x2a, 0, byte(lba >> 24), byte(lba >> 16), byte(lba >> 8), byte(lba), 0, byte(blocks >> 8), byte(blocks), 0}
}

// register registers a reservation key, RESERVE reserves exclusively with it.
func register(key byte) (cdb, data []byte) {
	data = make([]byte, 24)
	data[15] = key
	return []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, data
}

func reserve(key byte) (cdb, data []byte) {
	data = make([]byte, 24)
	data[7] = key
	return []byte{0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0}, data
}

// keys reads the registered keys.
func (i *initiator) keys() (keys []byte) {
	i.t.Helper()
	for range 3 { // unit attentions of what happened before come first
		status, in := i.run([]byte{0x5e, 0, 0, 0, 0, 0, 0, 16, 0, 0}, nil)
		if status != 0 {
			continue
		}
		for at := 8; at+8 <= len(in); at += 8 {
			keys = append(keys, in[at+7])
		}
		return keys
	}
	i.t.Fatal("the keys can't be read")
	return nil
}

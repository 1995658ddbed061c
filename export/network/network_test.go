package network

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/export"
	"elstore/export/iscsi/login"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

var (
	alice = rig.Alice
	bob   = rig.Bob
)

// pen gives the right to write to nobody.
type pen struct{}

func (pen) Claim(context.Context, string, volume.ID) bool { return false }
func (pen) Ended(string, volume.ID) bool                  { return false }

// server is a server's exports over NBD.
type server struct {
	*rig.Parts
	*export.Service
	t      *testing.T
	kind   *Kind
	dir    string // of the sockets
	id     string
	portal string
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	root := t.TempDir()
	s := &server{t: t, dir: filepath.Join(dir, "s"), id: volume.NewID().String()}
	rig.Pool(t, root, "pool", `{}`)
	s.Parts = rig.Assemble(t, root, nil)
	s.start()
	return s
}

// start makes the exports, as the start of a process does.
func (s *server) start() {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.portal = l.Addr().String()
	kind, err := New(Config{Dir: s.dir, Portals: []string{s.portal, "storage.example:10809"}, Secret: login.NewSecret("the server's")})
	if err != nil {
		s.t.Fatal(err)
	}
	s.kind = kind
	s.Service, err = export.New(export.Config{
		Volumes: s.Volumes, Events: s.Events, Log: slog.New(slog.DiscardHandler), ServerID: s.id, Kinds: []export.Kind{kind},
		FenceWait: 200 * time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.SetPen(pen{})
	ended := make(chan error, 1)
	go func() { ended <- kind.Listen(l) }()
	exports := s.Service
	s.t.Cleanup(func() {
		if err := exports.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			s.t.Error(err)
		}
	})
}

func (s *server) create(change ...func(*volume.Meta)) volume.ID {
	s.t.Helper()
	sata := func(m *volume.Meta) { m.Bus = volume.SATA }
	return s.Disk(s.t, append([]func(*volume.Meta){sata}, change...)...)
}

func (s *server) export(q export.Request) *export.Answer {
	s.t.Helper()
	if q.Client.IsZero() {
		q.Client = alice
	}
	a, err := s.Export(s.t.Context(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// machine is connected to a volume.
type machine struct {
	t    *testing.T
	conn net.Conn
}

// dial attaches a volume with an answer's credentials, or returns why it is not let in.
func (s *server) dial(a export.Access, change ...func(*tls.Config)) (*machine, error) {
	s.t.Helper()
	cert, err := tls.X509KeyPair([]byte(a.TLS.Certificate), []byte(a.TLS.Key))
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(a.TLS.Authority))
	cfg := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, ServerName: "127.0.0.1"}
	for _, fn := range change {
		fn(cfg)
	}
	raw, err := net.Dial("tcp", s.portal)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { raw.Close() })
	if err := raw.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := raw.Write(append([]byte{0, 0, 0, 3}, "IHAVEOPT\x00\x00\x00\x05\x00\x00\x00\x00"...)); err != nil { // NBD_OPT_STARTTLS
		return nil, err
	}
	if _, err := io.ReadFull(raw, make([]byte, 18+20)); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	if _, err := conn.Write([]byte("IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00")); err != nil { // NBD_OPT_EXPORT_NAME
		return nil, err
	}
	if _, err := io.ReadFull(conn, make([]byte, 10)); err != nil {
		return nil, err
	}
	return &machine{s.t, conn}, nil
}

// do runs a request, 0 is a read and 1 a write of a sector, and returns its error number. An error is a connection that is gone.
func (m *machine) do(command uint16, offset uint64, data []byte) (uint32, error) {
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint32(b, uint32(command))
	b = append(b, "cookie!!"...)
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, 512)
	if _, err := m.conn.Write(append(b, data...)); err != nil {
		return 0, err
	}
	reply := make([]byte, 16)
	if _, err := io.ReadFull(m.conn, reply); err != nil {
		return 0, err
	}
	errno := binary.BigEndian.Uint32(reply[4:])
	if command == 0 && errno == 0 {
		if _, err := io.ReadFull(m.conn, make([]byte, 512)); err != nil {
			return 0, err
		}
	}
	return errno, nil
}

var sector = bytes.Repeat([]byte{7}, 512)

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestExport(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a := s.export(export.Request{Volume: id})
	if again := s.export(export.Request{Volume: id}); again.Access.TLS == nil || *again.Access.TLS != *a.Access.TLS {
		t.Error("asked again it answers other credentials")
	}
	x := a.Access
	if x.URI != "nbds://"+s.portal+"/"+id.String()+"?tls-certificates="+x.TLS.Dir || x.User != a.Record.User || x.Secret != "" ||
		len(x.Portals) != 2 || len(x.Keys) != 4 || x.Libvirt != nil || !strings.Contains(string(x.Object), x.TLS.Dir) || !json.Valid(x.Blockdev) {
		t.Errorf("%+v", x)
	}
	if one := s.export(export.Request{Volume: id, Portals: []string{"storage.example:10809"}}); len(one.Access.Portals) != 1 || !strings.Contains(string(one.Access.Blockdev), `"host":"storage.example"`) {
		t.Errorf("%+v", one.Access)
	}
	m, err := s.dial(x)
	if err != nil {
		t.Fatal(err)
	}
	for command, data := range [][]byte{nil, sector} {
		if errno, err := m.do(uint16(command), 512, data); errno != 0 || err != nil {
			t.Errorf("command %d: %d, %v", command, errno, err)
		}
	}
	list := s.List(t.Context(), export.Query{})
	if len(list) != 1 || len(list[0].Sessions) != 1 || list[0].Sessions[0].Initiator != x.User || list[0].Counts.WriteBytes != 512 || len(list[0].Where) != 2 {
		t.Errorf("%+v", list)
	}
	if _, err := s.dial(x); err == nil {
		t.Error("a second one gets in beside the first")
	}
	if err := s.Unexport(t.Context(), id, alice, "", true); !fault.Is(err, fault.ExportBusy) {
		t.Errorf("unexport of what is in use: %v", err)
	}
	if err := s.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := m.do(1, 0, sector); err == nil {
		t.Error("it is connected still")
	}
	if _, err := s.dial(x); err == nil {
		t.Error("it lets in still")
	}
	fresh := s.export(export.Request{Volume: id})
	if _, err := s.dial(x); err == nil {
		t.Error("the key of an export that has ended lets in to the next")
	}
	if _, err := s.dial(fresh.Access); err != nil {
		t.Error(err)
	}
}

func TestStrangers(t *testing.T) {
	s := newServer(t)
	mine, other := s.export(export.Request{Volume: s.create()}).Access, s.export(export.Request{Volume: s.create()}).Access
	// The same authority signs, with the right name, a key that is not the attachment's.
	forged, err := s.kind.authority.client(mine.User, login.NewSecret("guessed"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := newAuthority(login.NewSecret("another server's"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := foreign.client(mine.User, login.NewSecret("guessed"))
	if err != nil {
		t.Fatal(err)
	}
	pair := func(c credentials) func(*tls.Config) {
		return func(cfg *tls.Config) {
			cert, err := tls.X509KeyPair([]byte(c.certificate), []byte(c.key))
			if err != nil {
				t.Fatal(err)
			}
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}
	}
	for name, change := range map[string]func(*tls.Config){
		"no certificate":               func(c *tls.Config) { c.Certificates = nil },
		"a key that is not the export": pair(forged),
		"another authority's":          pair(theirs),
		"an older TLS":                 func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"another host's name":          func(c *tls.Config) { c.ServerName = "192.0.2.1" },
	} {
		if _, err := s.dial(mine, change); err == nil {
			t.Errorf("%s: it is let in", name)
		}
	}
	for _, a := range []export.Access{mine, other} {
		if _, err := s.dial(a, func(c *tls.Config) { c.ServerName = "storage.example" }); err != nil {
			t.Error(err)
		}
	}
}

func TestRotate(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.ReadOnly = true })
	old := s.export(export.Request{Volume: id}).Access
	m, err := s.dial(old)
	if err != nil {
		t.Fatal(err)
	}
	fresh := s.export(export.Request{Volume: id, Rotate: true}).Access
	if _, err := s.dial(old); err == nil {
		t.Error("the old key lets in")
	}
	if _, err := s.dial(fresh); err != nil {
		t.Errorf("the new key does not: %v", err)
	}
	if errno, err := m.do(0, 0, nil); errno != 0 || err != nil {
		t.Errorf("who was connected is not any more: %d, %v", errno, err)
	}
	if errno, err := m.do(1, 0, sector); errno != 1 || err != nil {
		t.Errorf("a write to what is read-only: %d, %v", errno, err)
	}
}

// The same credentials and the same socket serve after a restart.
func TestRestart(t *testing.T) {
	s := newServer(t)
	a := s.export(export.Request{Volume: s.create()}).Access
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.dial(a); err == nil {
		t.Error("it lets in after its end")
	}
	s.start()
	s.Restore(t.Context())
	m, err := s.dial(a)
	if err != nil {
		t.Fatal(err)
	}
	m.conn.Close()
	until(t, "the socket lets in", func() bool {
		conn, err := net.Dial("unix", a.Socket)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 18))
		return err == nil
	})
}

// In a live migration a side without the pen reads and does not write, and which side loses is cut.
func TestMigration(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a := s.export(export.Request{Volume: id})
	source, err := s.dial(a.Access)
	if err != nil {
		t.Fatal(err)
	}
	p := export.Passing{Volume: id, Migration: "m", Source: a.Record.ID, Destination: volume.NewID(), Client: bob}
	if err := s.Admit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	to, err := s.AccessTo(p)
	if err != nil {
		t.Fatal(err)
	}
	destination, err := s.dial(to)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		m       *machine
		command uint16
		want    uint32
	}{
		"the source writes":      {source, 1, 0},
		"the destination reads":  {destination, 0, 0},
		"the destination writes": {destination, 1, 1},
	} {
		if errno, err := tt.m.do(tt.command, 0, sector[:512*int(tt.command)]); errno != tt.want || err != nil {
			t.Errorf("%s: %d, %v", name, errno, err)
		}
	}
	if err := s.ShutGate(t.Context(), id, p.Source); err != nil {
		t.Fatal(err)
	}
	if !s.OpenGate(id, p.Destination, "m") {
		t.Error("the gate stays shut")
	}
	if errno, err := destination.do(1, 0, sector); errno != 0 || err != nil {
		t.Errorf("the destination with the pen: %d, %v", errno, err)
	}
	if errno, err := source.do(1, 0, sector); errno != 1 || err != nil {
		t.Errorf("the source without the pen: %d, %v", errno, err)
	}
	if err := s.Decide(t.Context(), id, "m", p.Destination, p.Source, false); err != nil {
		t.Fatal(err)
	}
	if _, err := source.do(0, 0, nil); err == nil {
		t.Error("the source is connected still")
	}
	if _, err := s.dial(a.Access); err == nil {
		t.Error("the source gets in")
	}
	if errno, err := destination.do(1, 0, sector); errno != 0 || err != nil {
		t.Errorf("the destination afterwards: %d, %v", errno, err)
	}
}

// Whoever only connects is not in the way of who has a key, nor of the end.
func TestSilence(t *testing.T) {
	s := newServer(t)
	for range maxWaiting - 1 {
		conn, err := net.Dial("tcp", s.portal)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	a := s.export(export.Request{Volume: s.create()}).Access
	until(t, "all of them wait", func() bool {
		s.kind.mu.Lock()
		defer s.kind.mu.Unlock()
		return s.kind.waiting == maxWaiting-1
	})
	if _, err := s.dial(a); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestComplete(t *testing.T) {
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	secret := login.NewSecret("x")
	on, err := New(Config{Dir: dir, Portals: []string{"127.0.0.1:1", "[::1]:1"}, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	off, err := New(Config{Dir: dir, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	deep, err := New(Config{Dir: filepath.Join(t.TempDir(), strings.Repeat("d", 100)), Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		kind *Kind
		q    export.Request
		ok   bool
	}{
		{"plain", on, export.Request{}, true},
		{"a portal", on, export.Request{Portals: []string{"[::1]:1"}}, true},
		{"rates", on, export.Request{Rates: export.Rates{ReadIOPS: new(1.0)}}, true},
		{"a portal that isn't ours", on, export.Request{Portals: []string{"a:1"}}, false},
		{"the socket alone", off, export.Request{}, true},
		{"a portal where there is none", off, export.Request{Portals: []string{"127.0.0.1:1"}}, false},
		{"a path", on, export.Request{Path: true}, false},
		{"an initiator", on, export.Request{Initiator: "iqn.x"}, false},
		{"a path that no socket can have", deep, export.Request{}, false},
	} {
		var r export.Record
		err := tt.kind.Complete(nil, &tt.q, &r)
		if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.BadRequest) || tt.ok == (r.User == "" || r.Secret.IsZero()) {
			t.Errorf("%s: %v, %+v", tt.name, err, r)
		}
	}
	for name, cfg := range map[string]Config{
		"no directory":              {Secret: secret},
		"no secret":                 {Dir: dir},
		"a portal that isn't":       {Dir: dir, Secret: secret, Portals: []string{"127.0.0.1"}},
		"a directory that can't be": {Dir: "/dev/null/x", Secret: secret},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: it is made", name)
		}
	}
}

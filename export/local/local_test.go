package local

import (
	"bytes"
	"context"
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
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

var (
	alice = rig.Alice
	bob   = rig.Bob
)

// server is a server's local exports.
type server struct {
	*rig.Parts
	*export.Service
	t    *testing.T
	root string
	dir  string // of the sockets
	id   string
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, root: t.TempDir(), dir: filepath.Join(dir, "s"), id: volume.NewID().String()}
	rig.Pool(t, s.root, "pool", `{}`)
	s.Parts = rig.Assemble(t, s.root, nil)
	s.start()
	return s
}

// start makes the exports, as the start of a process does.
func (s *server) start() {
	s.t.Helper()
	kind, err := New(Config{Dir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Service, err = export.New(export.Config{
		Volumes: s.Volumes, Events: s.Events, Log: slog.New(slog.DiscardHandler), ServerID: s.id, Kinds: []export.Kind{kind},
		FenceWait: 200 * time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	exports := s.Service
	s.t.Cleanup(func() {
		if err := exports.Close(context.Background()); err != nil {
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
	q.Client = alice
	a, err := s.Export(s.t.Context(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// machine is connected to a socket.
type machine struct {
	t    *testing.T
	conn net.Conn
}

// dial connects, or returns nil where it is not let in.
func dial(t *testing.T, socket string) *machine {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 18)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return nil
	}
	hello := []byte{0, 0, 0, 3}                                          // fixed newstyle, no zeroes
	hello = append(hello, "IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"...) // NBD_OPT_EXPORT_NAME
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	c := &machine{t, conn}
	if _, err := io.ReadFull(conn, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends a request: command 0 is a read, 1 a write.
func (c *machine) send(command uint16, offset uint64, length uint32, data []byte) {
	c.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, 0x25609513)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, command)
	b = append(b, "cookie!!"...)
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, length)
	if _, err := c.conn.Write(append(b, data...)); err != nil {
		c.t.Fatal(err)
	}
}

// errno returns the error number of the next reply.
func (c *machine) errno() uint32 {
	c.t.Helper()
	reply := make([]byte, 16)
	if _, err := io.ReadFull(c.conn, reply); err != nil {
		c.t.Fatal(err)
	}
	return binary.BigEndian.Uint32(reply[4:])
}

func (c *machine) gone() bool {
	_, err := io.ReadFull(c.conn, make([]byte, 1))
	return err != nil
}

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
	for path, mode := range map[string]os.FileMode{a.Access.Socket: 0o600, s.dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if a.Access.Secret != "" || a.Access.URI != "nbd+unix:///"+id.String()+"?socket="+a.Access.Socket || !json.Valid(a.Access.Blockdev) ||
		!strings.Contains(a.Access.Libvirt.Disk, "<target dev='sda' bus='sata'/>") {
		t.Errorf("%+v", a.Access)
	}
	c := dial(t, a.Access.Socket)
	c.send(1, 512, 512, bytes.Repeat([]byte{7}, 512))
	c.errno()
	c.send(0, 512, 512, nil)
	if errno := c.errno(); errno != 0 {
		t.Errorf("error %d", errno)
	}
	got := make([]byte, 512)
	if _, err := io.ReadFull(c.conn, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{7}, 512)) {
		t.Errorf("%v, % .10x", err, got)
	}
	list := s.List(t.Context(), export.Query{})
	if len(list) != 1 || len(list[0].Sessions) != 1 || !strings.HasPrefix(list[0].Sessions[0].Initiator, "process ") {
		t.Fatalf("%+v", list)
	}
	if n := list[0].Counts; n.ReadOperations != 1 || n.WriteBytes != 512 || n.Errors != 0 || n.ReadLatency.Sum <= 0 || n.WriteLatency.Sum <= 0 {
		t.Errorf("%+v", n)
	}
	if dial(t, a.Access.Socket) != nil {
		t.Error("a second one gets in beside the first")
	}
	if err := s.Unexport(t.Context(), id, alice, "", true); !fault.Is(err, fault.ExportBusy) {
		t.Errorf("unexport of what is in use: %v", err)
	}
	c.conn.Close()
	until(t, "the first one's place is free", func() bool { return dial(t, a.Access.Socket) != nil })
	if err := s.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(a.Access.Socket); !errors.Is(err, os.ErrNotExist) || dial(t, a.Access.Socket) != nil {
		t.Errorf("the socket is there still: %v", err)
	}
}

func TestManyMayReadWhatIsReadOnly(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.ReadOnly = true })
	a := s.export(export.Request{Volume: id})
	for range 3 {
		c := dial(t, a.Access.Socket)
		c.send(1, 0, 512, make([]byte, 512))
		if errno := c.errno(); errno != 1 {
			t.Errorf("a write ended with %d, want EPERM", errno)
		}
	}
}

// The pen is asked for before anything is written, and a connection that waits for it is not in the way of fencing.
func TestGateAndFencing(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a := s.export(export.Request{Volume: id})
	gate := s.Standing(id)[0].Gate
	asked, decide := make(chan struct{}, 8), make(chan struct{})
	if err := gate.Shut(t.Context(), func(ctx context.Context) bool {
		asked <- struct{}{}
		<-decide
		return false
	}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, a.Access.Socket)
	c.send(1, 0, 512, bytes.Repeat([]byte{7}, 512))
	<-asked
	// What has not ended is not proven.
	if err := s.Unexport(t.Context(), id, alice, "", false); !fault.Is(err, fault.ExportFencing) {
		t.Errorf("with a request under way: %v", err)
	}
	close(decide)
	until(t, "the fence is proven", func() bool { return s.Unexport(t.Context(), id, alice, "", false) == nil })
	if !c.gone() {
		t.Error("the connection is there still")
	}
	data, err := os.ReadFile(filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", "data.img"))
	if err != nil || bytes.Contains(data, []byte{7}) {
		t.Errorf("the write landed: %v", err)
	}
}

func TestRestart(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a := s.export(export.Request{Volume: id})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dial(t, a.Access.Socket) != nil {
		t.Error("it lets in after its end")
	}
	stale := filepath.Join(s.dir, "stale.nbd")
	if err := os.WriteFile(stale, nil, 0o600); err != nil { // as a process leaves it that was killed
		t.Fatal(err)
	}
	s.start()
	s.Restore(t.Context())
	if dial(t, a.Access.Socket) == nil {
		t.Error("the same socket does not let in")
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead socket is there still: %v", err)
	}
}

// Whoever has the image open by its path can't be shut out, and so the export ends when that is closed, and not before.
func TestPath(t *testing.T) {
	s := newServer(t)
	id := s.create(func(m *volume.Meta) { m.Shareable = true })
	a := s.export(export.Request{Volume: id, Path: true})
	want := filepath.Join(s.root, "pool", "vid."+id.String()+".elimg", "data.img")
	if a.Access.Path != want || a.Access.Socket != "" || !strings.Contains(string(a.Access.Blockdev), want) || !strings.Contains(a.Access.Libvirt.Disk, want) {
		t.Errorf("%+v", a.Access)
	}
	if again := s.export(export.Request{Volume: id}); again.Access.Path != want || again.Record.ID != a.Record.ID {
		t.Errorf("asked again it answers %+v", again.Access)
	}
	refused := func(what string, want fault.Code, err error) {
		t.Helper()
		if !fault.Is(err, want) {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	_, err := s.Export(t.Context(), export.Request{Volume: id, Client: bob})
	refused("another client", fault.VolumeAlreadyExported, err)
	refused("growing", fault.VolumeInUse, s.Volumes.Resize(t.Context(), id, nil, volume.ResizeRequest{Size: 2 << 20}))
	refused("migration", fault.BadRequest, s.Admit(t.Context(), export.Passing{Volume: id, Migration: "m", Source: a.Record.ID, Destination: volume.NewID(), Client: alice}))
	machine, err := os.OpenFile(want, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	if list := s.List(t.Context(), export.Query{}); len(list) != 1 || len(list[0].Sessions) != 1 {
		t.Errorf("%+v", list)
	}
	refused("unexport of what is open", fault.ExportBusy, s.Unexport(t.Context(), id, alice, "", false))
	// A server comes and goes, and the machine with the image does not notice.
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.Restore(t.Context())
	if again := s.export(export.Request{Volume: id}); again.Access.Path != want || again.Record.ID != a.Record.ID {
		t.Errorf("after a restart it answers %+v", again.Access)
	}
	refused("unexport after a restart", fault.ExportBusy, s.Unexport(t.Context(), id, alice, "", false))
	// Another server does not take what that one's client has open.
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	mine := s.id
	s.id = volume.NewID().String()
	s.start()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(filepath.Dir(want), export.Name(alice, id)+".exported"), old, old); err != nil {
		t.Fatal(err)
	}
	_, err = s.Export(t.Context(), export.Request{Volume: id, Client: bob})
	refused("another server's export", fault.ExportBusy, err)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.id = mine
	s.start()
	s.Restore(t.Context())
	machine.Close()
	if err := s.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	if machine, err = os.Open(want); err != nil {
		t.Fatal(err)
	}
	_, err = s.Export(t.Context(), export.Request{Volume: id, Client: alice, Path: true})
	refused("the path of what is open already", fault.ExportBusy, err)
	machine.Close()
	s.export(export.Request{Volume: id})
	_, err = s.Export(t.Context(), export.Request{Volume: id, Client: bob, Path: true})
	refused("the path of what others have", fault.VolumeAlreadyExported, err)
}

// What was opened between the look and the end keeps the volume from everybody else until it is closed.
func TestPathThatIsOpenedAtTheEnd(t *testing.T) {
	s := newServer(t)
	id := s.create()
	a := s.export(export.Request{Volume: id, Path: true})
	machine, err := os.Open(a.Access.Path)
	if err != nil {
		t.Fatal(err)
	}
	// As unexport does after its look.
	err = s.Change(t.Context(), id, "unexport", func(_ volume.Volume, b *export.Book) error {
		b.Drop(func(export.Record) bool { return true })
		return nil
	})
	if !fault.Is(err, fault.ExportFencing) {
		t.Errorf("with the image open: %v", err)
	}
	if _, err := s.Export(t.Context(), export.Request{Volume: id, Client: bob}); err == nil {
		t.Error("somebody else has it beside who has it open")
	}
	machine.Close()
	if _, err := s.Export(t.Context(), export.Request{Volume: id, Client: bob}); err != nil {
		t.Errorf("when it is closed: %v", err)
	}
}

func TestPathInASharedPool(t *testing.T) {
	s := newServer(t)
	dir := rig.Pool(t, s.root, "many", `{"shared": true}`)
	if err := s.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := s.Volumes.Create(t.Context(), volume.NewVolume{Pool: filepath.Base(dir), Meta: volume.Meta{
		Creator: alice, Name: "disk", Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.SATA, Size: 1 << 20,
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Export(t.Context(), export.Request{Volume: v.ID, Client: alice, Path: true}); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "shared") {
		t.Errorf("%v", err)
	}
	s.export(export.Request{Volume: v.ID})
}

func TestComplete(t *testing.T) {
	short, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	shallow, err := New(Config{Dir: short})
	if err != nil {
		t.Fatal(err)
	}
	deep, err := New(Config{Dir: filepath.Join(t.TempDir(), strings.Repeat("d", 100))})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		kind *Kind
		q    export.Request
		ok   bool
	}{
		{"plain", shallow, export.Request{}, true},
		{"read-only, several", shallow, export.Request{ReadOnly: new(true), Multipath: new(true)}, true},
		{"rates", shallow, export.Request{Rates: export.Rates{ReadIOPS: new(1.0)}}, true},
		{"a path", shallow, export.Request{Path: true}, true},
		{"a path and rates", shallow, export.Request{Path: true, Rates: export.Rates{ReadIOPS: new(1.0)}}, false},
		{"an initiator", shallow, export.Request{Initiator: "iqn.x"}, false},
		{"portals", shallow, export.Request{Portals: []string{"a:1"}}, false},
		{"a path that no socket can have", deep, export.Request{}, false},
		{"the image's path instead", deep, export.Request{Path: true}, true},
	} {
		if err := tt.kind.Complete(nil, &tt.q, nil); (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.BadRequest) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if shallow.Name() != "local" || len(shallow.Where()) > 0 {
		t.Error("it is another kind")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("it needs no directory")
	}
}

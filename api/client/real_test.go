package client_test

import (
	"log/slog"
	"net"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"elstore/api"
	"elstore/api/client"
	v1 "elstore/api/v1"
	"elstore/cloudinit"
	"elstore/iso"
	"elstore/test/rig"
	"elstore/volume"
)

// server is the real API on a real pool, behind a line that can be cut.
type server struct {
	*rig.Parts
	pool string // path of the pool "fast"
	url  string
	line *line
}

func realServer(t *testing.T) *server {
	t.Helper()
	root := t.TempDir()
	s := &server{pool: rig.Pool(t, root, "fast", `{}`)}
	s.Parts = rig.Assemble(t, root, func(c *volume.Config) { c.LockWait = 10 * time.Second })
	web := httptest.NewUnstartedServer(api.New(api.Config{Log: slog.New(slog.DiscardHandler), Routes: v1.New(v1.Config{
		Volumes: s.Volumes, Pools: s.Pools, Jobs: s.Jobs, Events: s.Events, Keys: s.Keys, Version: "test", ISO: iso.NewService(s.Volumes),
		Seeds: cloudinit.NewService(cloudinit.Config{Volumes: s.Volumes, Log: slog.New(slog.DiscardHandler)}),
	}).Routes()}))
	s.line = &line{Listener: web.Listener}
	web.Listener = s.line
	web.Start()
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// client returns one that does not wait long between tries.
func (s *server) client(t *testing.T) *client.Client { return dial(t, s.url, nil) }

// volume makes a raw volume and returns its id.
func (s *server) volume(t *testing.T, c *client.Client, size int64) string {
	t.Helper()
	op, err := c.Create(t.Context(), client.CreateRequest{Creator: me, Name: "disk", Size: client.Size(size)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := op.Wait(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// data is the path of a raw volume's image.
func (s *server) data(id string) string { return filepath.Join(s.pool, "vid."+id+".elimg", "data.img") }

// line is a listener whose connections can be cut after a number of bytes, counted over all of them.
type line struct {
	net.Listener

	mu      sync.Mutex
	in, out *int64 // bytes until the cut, nil: never
	each    int64  // bytes that every connection may bring in before it is cut, 0: any number
	cuts    int
}

// cutIn cuts once when n more bytes have come from clients.
func (l *line) cutIn(n int64) { l.set(func() { l.in = &n }) }

// cutOut cuts once when n more bytes have gone to clients.
func (l *line) cutOut(n int64) { l.set(func() { l.out = &n }) }

func (l *line) set(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
}

// count returns how often it was cut, and lets everything through from now on.
func (l *line) count() (cuts int) {
	l.set(func() { cuts, l.in, l.out, l.each = l.cuts, nil, nil, 0 })
	return cuts
}

func (l *line) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &cuttable{Conn: c, line: l}, nil
}

type cuttable struct {
	net.Conn
	line *line
	came int64 // by this connection; guarded by line.mu
}

// Read lets no more through than there is until the cut.
func (c *cuttable) Read(p []byte) (int, error) {
	l := c.line
	l.mu.Lock()
	if l.in != nil {
		p = p[:min(int64(len(p)), max(*l.in, 1))]
	}
	l.mu.Unlock()
	n, err := c.Conn.Read(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.came += int64(n)
	if l.in != nil {
		if *l.in -= int64(n); *l.in <= 0 {
			l.in = nil
			c.cut()
		}
	}
	if l.each > 0 && c.came > l.each {
		c.cut()
	}
	return n, err
}

func (c *cuttable) Write(p []byte) (int, error) {
	l := c.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil || int64(len(p)) < *l.out {
		if l.out != nil {
			*l.out -= int64(len(p))
		}
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:*l.out])
	l.out = nil
	c.cut()
	return n, net.ErrClosed
}

// cut resets the connection. The caller holds line.mu.
func (c *cuttable) cut() {
	c.line.cuts++
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"elstore/export"
	"elstore/export/nbd"
	"elstore/volume/fault"
)

// attached is an attachment that stands: a socket, and who is connected to it.
type attached struct {
	unit     *unit
	rec      export.Record
	gate     *export.Gate
	watch    export.Watch
	path     string
	listener *net.UnixListener
	ctx      context.Context //nolint:containedctx // its end ends the connections
	end      context.CancelFunc
	running  sync.WaitGroup

	readOps, readBytes, writeOps, writeBytes, otherOps, failures atomic.Uint64
	reading, writing                                             export.LatencyMeter

	mu       sync.Mutex
	sessions []*export.Session
}

// Attach implements export.Unit.
func (u *unit) Attach(ctx context.Context, r export.Record, _ export.Rates, g *export.Gate, w export.Watch) (export.Attached, error) {
	a := &attached{unit: u, rec: r, gate: g, watch: w, path: u.kind.socket(r.ID)}
	var err error
	if a.listener, err = listen(a.path); err != nil {
		return nil, err
	}
	a.ctx, a.end = context.WithCancel(context.WithoutCancel(ctx))
	u.kind.mu.Lock()
	defer u.kind.mu.Unlock()
	if u.kind.stopped {
		a.end()
		return nil, errors.Join(fault.Errorf(fault.ShuttingDown, "the server is stopping"), a.listener.Close())
	}
	u.kind.attached[a] = struct{}{}
	a.running.Go(a.accept)
	return a, nil
}

// listen makes a socket that this user alone can connect to.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.FromOS("make the socket", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fault.FromOS("make the socket", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // its directory has kept others out until now
		return nil, errors.Join(fault.FromOS("make the socket", err), l.Close())
	}
	return l, nil
}

// maxAcceptDelay is how long accepting pauses at most where the machine lacks what it takes, such as descriptors.
const maxAcceptDelay = time.Second

// accept serves whoever connects, until the listener is closed.
func (a *attached) accept() {
	var delay time.Duration
	for {
		conn, err := a.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-a.ctx.Done():
			}
			continue
		}
		delay = 0
		a.running.Go(func() { a.serve(conn) })
	}
}

// serve serves one connection, unless another is in its way.
func (a *attached) serve(conn *net.UnixConn) {
	s := &export.Session{Initiator: peer(conn), Remote: a.path, Since: time.Now().UTC()}
	a.mu.Lock()
	if len(a.sessions) > 0 && !a.unit.many && !a.rec.Multipath && !a.rec.ReadOnly {
		a.mu.Unlock()
		_ = conn.Close()
		return
	}
	a.sessions = append(a.sessions, s)
	a.mu.Unlock()
	log := a.unit.medium.Log.With(slog.String("initiator", s.Initiator))
	log.Info("local session began")
	a.watch(*s, true)
	err := nbd.Serve(a.ctx, conn, nbd.Export{
		Name: a.unit.medium.Volume.ID.String(), Device: a.unit.medium.Device, ReadOnly: a.rec.ReadOnly, Gate: a.gate, Count: a.count,
	})
	a.mu.Lock()
	a.sessions = slices.DeleteFunc(a.sessions, func(o *export.Session) bool { return o == s })
	a.mu.Unlock()
	log.Info("local session ended", slog.Any("reason", err))
	a.watch(*s, false)
}

// peer says which process is connected; unix(7), SO_PEERCRED.
func peer(conn *net.UnixConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return "a process"
	}
	name := "a process"
	_ = raw.Control(func(fd uintptr) {
		if c, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("process %d of user %d", c.Pid, c.Uid)
		}
	})
	return name
}

func (a *attached) count(kind nbd.Kind, bytes int, failed bool, took time.Duration) {
	switch kind {
	case nbd.Read:
		a.readOps.Add(1)
		a.readBytes.Add(uint64(bytes))
		a.reading.Count(took)
	case nbd.Write:
		a.writeOps.Add(1)
		a.writeBytes.Add(uint64(bytes))
		a.writing.Count(took)
	case nbd.Other:
		a.otherOps.Add(1)
	}
	if failed {
		a.failures.Add(1)
	}
}

// Counts implements export.Attached.
func (a *attached) Counts() export.Counts {
	return export.Counts{
		ReadOperations: a.readOps.Load(), ReadBytes: a.readBytes.Load(), WriteOperations: a.writeOps.Load(), WriteBytes: a.writeBytes.Load(),
		OtherOperations: a.otherOps.Load(), Errors: a.failures.Load(),
		ReadLatency: a.reading.Latency(), WriteLatency: a.writing.Latency(),
	}
}

// Sessions implements export.Attached.
func (a *attached) Sessions() []export.Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []export.Session{}
	for _, s := range a.sessions {
		list = append(list, *s)
	}
	return list
}

// Renew implements export.Attached: there is no secret, and there are no rates.
func (a *attached) Renew(export.Record, export.Rates) error { return nil }

// Detach implements export.Attached.
func (a *attached) Detach(ctx context.Context) error {
	_ = a.listener.Close() // which removes the socket
	a.end()
	done := make(chan struct{})
	go func() {
		a.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("requests of local clients are under way still: %w", context.Cause(ctx))
	}
	a.unit.kind.mu.Lock()
	defer a.unit.kind.mu.Unlock()
	delete(a.unit.kind.attached, a)
	return nil
}

// Remove implements export.Attached.
func (a *attached) Remove(ctx context.Context) error { return a.Detach(ctx) }

// reconnect is how long QEMU tries to reach the socket again before its requests fail, in seconds.
const reconnect = 120

// Access implements export.Attached.
func (a *attached) Access(*export.Request) export.Access {
	id := a.unit.medium.Volume.ID.String()
	type server struct {
		Type string `json:"type"`
		Path string `json:"path"`
	}
	type file struct {
		Driver    string `json:"driver"`
		Server    server `json:"server"`
		Export    string `json:"export"`
		Reconnect int    `json:"reconnect-delay"`
	}
	blockdev, err := json.Marshal(struct {
		Driver   string `json:"driver"`
		Node     string `json:"node-name"`
		ReadOnly bool   `json:"read-only"`
		Discard  string `json:"discard"`
		File     file   `json:"file"`
	}{"raw", "volume-" + id[:16], a.rec.ReadOnly, "unmap", file{"nbd", server{"unix", a.path}, id, reconnect}})
	if err != nil {
		panic("local: an answer can't be encoded: " + err.Error()) // no field of it can fail
	}
	bus := string(a.unit.medium.Volume.Meta.Bus)
	readonly := ""
	if a.rec.ReadOnly {
		readonly = "<readonly/>"
	}
	return export.Access{
		URI: "nbd+unix:///" + id + "?socket=" + a.path, Socket: a.path, Blockdev: blockdev,
		Libvirt: &export.Libvirt{Disk: fmt.Sprintf("<disk type='network' device='disk'><driver name='qemu' type='raw' discard='unmap'/>"+
			"<source protocol='nbd' name='%s'><host transport='unix' socket='%s'/></source><target dev='%s' bus='%s'/>%s</disk>",
			id, quote(a.path), map[string]string{"virtio": "vda", "ide": "hda", "sata": "sda", "scsi": "sda"}[bus], bus, readonly)},
	}
}

package qemu

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vhostDaemon plays a storage daemon.
type vhostDaemon struct {
	device
	t      testing.TB
	conn   *net.UnixConn
	memory []byte
	kick   int
	call   int
}

// vhostSockets returns the two ends of a connection.
func vhostSockets(t testing.TB) (ours, theirs *net.UnixConn) {
	t.Helper()
	conn, f, err := socketPair()
	must(t, err)
	defer f.Close()
	other, err := net.FileConn(f)
	must(t, err)
	t.Cleanup(func() { _, _ = conn.Close(), other.Close() })
	return conn.(*net.UnixConn), other.(*net.UnixConn)
}

// vhostPair returns a queue and who is at its other end.
func vhostPair(t testing.TB) (*vhostConn, *vhostDaemon) {
	t.Helper()
	ours, theirs := vhostSockets(t)
	d := &vhostDaemon{t: t, conn: theirs, kick: -1, call: -1}
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.serve()
	}()
	c, err := newVhostConn(t.Context(), ours)
	must(t, err)
	<-served
	t.Cleanup(func() {
		c.cut()
		_, _, _ = unix.Munmap(d.memory), unix.Close(d.kick), unix.Close(d.call)
	})
	return c, d
}

// serve takes part in setting up a queue.
func (d *vhostDaemon) serve() {
	for asked := 0; asked < 2; {
		head, rights := make([]byte, vhostHeader), make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := d.conn.ReadMsgUnix(head, rights)
		must(d.t, err)
		payload := make([]byte, binary.NativeEndian.Uint32(head[8:]))
		if _, err := io.ReadFull(d.conn, payload); n != vhostHeader || err != nil {
			d.t.Errorf("a message of %d bytes, %v", n, err)
		}
		fd := -1
		if oobn > 0 {
			messages, err := unix.ParseSocketControlMessage(rights[:oobn])
			must(d.t, err)
			fds, err := unix.ParseUnixRights(&messages[0])
			must(d.t, err)
			fd = fds[0]
		}
		switch request := vhostRequest(binary.NativeEndian.Uint32(head)); request {
		case vhostGetFeatures:
			asked++
			reply := appendVhost(nil, request, vhostNumber(1<<40-1))
			binary.NativeEndian.PutUint32(reply[4:], vhostVersion|vhostReply)
			_, err := d.conn.Write(reply)
			must(d.t, err)
		case vhostSetMemTable:
			d.memory, err = unix.Mmap(fd, 0, sharedBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(d.t, err)
			must(d.t, unix.Close(fd))
			d.device.memory = d.memory
		case vhostSetVringKick:
			d.kick = fd
		case vhostSetVringCall:
			d.call = fd
		case vhostSetOwner, vhostSetFeatures, vhostSetVringNum, vhostSetVringAddr, vhostSetVringBase:
		}
	}
}

// patient is how long a test waits for what must come.
const patient = 30 * time.Second

// wait waits until it is kicked.
func (d *vhostDaemon) wait() bool {
	fds := []unix.PollFd{{Fd: int32(d.kick), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patient.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			d.t.Errorf("nobody kicks: %v", err)
			return false
		}
		_, _ = unix.Read(d.kick, make([]byte, 8))
		return true
	}
}

// take waits for a request.
func (d *vhostDaemon) take() deviceRequest {
	for {
		if r, ok := d.next(d.t); ok {
			return r
		}
		if !d.wait() {
			return deviceRequest{}
		}
	}
}

// answer ends a request, with written bytes besides the status.
func (d *vhostDaemon) answer(r deviceRequest, status byte, written int) {
	*r.status = status
	if d.end(r.head, uint32(written)+1) {
		d.wake()
	}
}

func (d *vhostDaemon) wake() { _, _ = unix.Write(d.call, one) }

func TestVhostSetUpFails(t *testing.T) {
	features := func(n uint64) []byte {
		return vhostBytes(uint32(vhostGetFeatures), uint32(vhostVersion|vhostReply), uint32(8), n)
	}
	for name, tc := range map[string]struct {
		says string
		err  string
	}{
		"hangs up":          {"", "EOF"},
		"lacks a feature":   {string(features(vhostFeatures &^ virtioEventIndex)), "are needed"},
		"says something":    {string(vhostBytes(uint32(2), uint32(5), uint32(8), uint64(0))), "not the reply"},
		"does not like it":  {string(features(vhostFeatures)), "EOF"},
		"says half of it":   {string(features(vhostFeatures)[:13]), "EOF"},
		"answers it wrong":  {string(features(vhostFeatures)) + string(vhostBytes(uint32(9), uint32(5), uint32(8), uint64(0))), "not the reply"},
		"answers too short": {string(features(vhostFeatures)) + "x", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := vhostSockets(t)
			_, err := theirs.Write([]byte(tc.says))
			must(t, err)
			must(t, theirs.CloseWrite())
			files := openFiles(t)
			if _, err := newVhostConn(t.Context(), ours); err == nil || !contains(err.Error(), tc.err) {
				t.Errorf("error is %v, want %q", err, tc.err)
			}
			if n := openFiles(t); n >= files { // one was that of the connection
				t.Errorf("%d files were open before, %d after", files, n)
			}
		})
	}
	t.Run("says nothing", func(t *testing.T) {
		ours, _ := vhostSockets(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(os.ErrDeadlineExceeded)
		if _, err := newVhostConn(ctx, ours); err == nil || !contains(err.Error(), os.ErrDeadlineExceeded.Error()) {
			t.Errorf("error is %v", err)
		}
	})
}

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// vhostPeer is a connection on which a queue is set up.
type vhostPeer struct{ conn *net.UnixConn }

// setUp tells the daemon of the memory with the queue in it, and the signals, and returns when it has taken them all.
func (p vhostPeer) setUp(ctx context.Context, memory *os.File, kick, call int) error {
	stop := context.AfterFunc(ctx, func() {
		_ = p.conn.SetDeadline(time.Unix(1, 0)) // what is under way fails; the caller closes it
	})
	err := p.talk(int(memory.Fd()), kick, call)
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("vhost-user: %w", err)
	}
	return nil
}

func (p vhostPeer) talk(memory, kick, call int) error {
	features, err := p.ask(vhostGetFeatures)
	if err != nil {
		return err
	}
	if features&vhostFeatures != vhostFeatures {
		return fmt.Errorf("the storage daemon offers features %#x, and %#x are needed", features, uint64(vhostFeatures))
	}
	for _, m := range []struct {
		request vhostRequest
		payload []byte
		fds     []int
	}{
		{vhostSetOwner, nil, nil},
		{vhostSetFeatures, vhostNumber(vhostFeatures), nil},
		{vhostSetMemTable, vhostTable(sharedBytes), []int{memory}},
		{vhostSetVringNum, vhostState(queueSize), nil},
		{vhostSetVringBase, vhostState(0), nil},
		{vhostSetVringAddr, vhostRings(), nil},
		{vhostSetVringCall, vhostNumber(0), []int{call}},
		{vhostSetVringKick, vhostNumber(0), []int{kick}},
	} {
		if err := p.send(m.request, m.payload, m.fds...); err != nil {
			return err
		}
	}
	// None of them is answered. It takes them in their order, and hangs up on one that it does not like.
	_, err = p.ask(vhostGetFeatures)
	return err
}

func (p vhostPeer) send(request vhostRequest, payload []byte, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	b := appendVhost(nil, request, payload)
	n, _, err := p.conn.WriteMsgUnix(b, rights, nil)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// ask makes a request that is answered with a number.
func (p vhostPeer) ask(request vhostRequest) (uint64, error) {
	if err := p.send(request, nil); err != nil {
		return 0, err
	}
	var reply [vhostHeader + 8]byte
	if _, err := io.ReadFull(p.conn, reply[:]); err != nil {
		return 0, err
	}
	return parseVhostNumber(reply[:], request)
}

// newVhostConn sets up a queue on conn, which it takes over.
func newVhostConn(ctx context.Context, conn net.Conn) (_ *vhostConn, err error) {
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("vhost-user: not a Unix socket")
	}
	memory, err := newSharedMemory()
	if err != nil {
		return nil, err
	}
	kick, err := newKick()
	if err != nil {
		memory.close()
		return nil, err
	}
	call, theirs, err := newCall()
	if err != nil {
		memory.close()
		kick.close()
		return nil, err
	}
	defer theirs.Close()
	if err := (vhostPeer{socket}).setUp(ctx, memory.file, int(kick), int(theirs.Fd())); err != nil {
		memory.close()
		kick.close()
		call.close()
		return nil, err
	}
	memory.handOver()
	return startVhostConn(socket, memory, kick, call), nil
}

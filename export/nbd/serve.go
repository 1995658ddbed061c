package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"elstore/volume/nbdwire"
)

// Device is the medium of an export. Every method may be called from many goroutines at once.
type Device interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Flush(ctx context.Context) error
	Discard(off, length int64) error
	WriteZeroes(off, length int64, unmap bool) error
	Size() int64
}

// Gate decides, request by request, whether the medium may be changed at this moment.
type Gate interface {
	// Enter is called before a request that changes something, which is refused where it returns false.
	Enter(ctx context.Context) bool
	// Leave is called when a request that was let in has run.
	Leave()
}

// Export is what connections lead to.
type Export struct {
	Name     string
	Device   Device
	ReadOnly bool
	Gate     Gate   // nil lets all pass
	Order    *Order // of all connections to it; nil is that it has one at a time
	// Count is told of each request that ended: what it was, how many bytes it moved, whether it failed, and how long it
	// took. It may be called from many goroutines at once. Nil is not told.
	Count func(kind Kind, bytes int, failed bool, took time.Duration)
	// Pace is called before each request, with as many bytes as it moves, and may take its time. Its error is what the request fails
	// with. Nil delays nothing.
	Pace func(ctx context.Context, kind Kind, bytes int) error
}

// Kind is what a request does.
type Kind uint8

// The kinds.
const (
	Other Kind = iota
	Read
	Write
)

func (e *Export) flags() uint16 {
	// Every connection's flush covers the writes of all, so a client may have several.
	flags := uint16(nbdwire.HasFlags | nbdwire.SendFlush | nbdwire.SendFUA | nbdwire.CanMultiConn)
	if e.ReadOnly {
		return flags | nbdwire.ReadOnly
	}
	return flags | nbdwire.SendTrim | nbdwire.SendWriteZeroes
}

const (
	// handshakeTime is how long a client has to say what it wants.
	handshakeTime = 10 * time.Second
	// atOnce is how many requests of a connection run at the same time. Each may hold maxData bytes.
	atOnce = 16
)

// Serve serves one connection until its client ends it, it breaks, or ctx ends. It closes the connection. When it
// returns nothing of it can reach the medium any more. The error is why it ended; nil is the client's wish.
func Serve(ctx context.Context, conn net.Conn, e Export) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	zeroes, err := greet(conn)
	if err != nil {
		return fmt.Errorf("NBD handshake: %w", err)
	}
	return transmit(ctx, conn, &e, zeroes)
}

// transmit serves a connection that was greeted, until it ends.
func transmit(ctx context.Context, conn net.Conn, e *Export, zeroes bool) error {
	err := haggle(conn, func(option uint32, data []byte) (bool, error) { return answer(conn, e, option, data, zeroes) })
	if errors.Is(err, errAborted) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("NBD handshake: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	s := &server{ctx: ctx, gone: gone, conn: conn, export: e, room: make(chan struct{}, atOnce)}
	defer s.running.Wait()
	err = s.receive()
	if errors.Is(err, errBye) {
		return nil // what it asked for before is done
	}
	// Its client makes again, on another connection, what it has no answer to. What waits here would undo what is written there since.
	gone()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// errBye is the client's wish to end the connection.
var errBye = errors.New("the client said goodbye")

// server serves the requests of one connection.
type server struct {
	ctx     context.Context    //nolint:containedctx // of the connection
	gone    context.CancelFunc // ends ctx: requests that have not begun fail
	conn    net.Conn
	export  *Export
	room    chan struct{}
	running sync.WaitGroup
	sending sync.Mutex
}

// request is one, with its data.
type request struct {
	flags   uint16
	command nbdwire.Command
	cookie  [8]byte
	offset  int64
	length  int64
	data    []byte
}

// parseRequest reads a request's header.
func parseRequest(b *[nbdwire.RequestSize]byte) (r request, err error) {
	if binary.BigEndian.Uint32(b[:]) != nbdwire.RequestMagic {
		return r, errors.New("what came is no request")
	}
	r.flags, r.command = binary.BigEndian.Uint16(b[4:]), nbdwire.Command(binary.BigEndian.Uint16(b[6:]))
	copy(r.cookie[:], b[8:])
	r.offset, r.length = int64(binary.BigEndian.Uint64(b[16:])), int64(binary.BigEndian.Uint32(b[24:]))
	return r, nil
}

func (s *server) receive() error {
	in := bufio.NewReaderSize(s.conn, 64<<10)
	for {
		var header [nbdwire.RequestSize]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return err
		}
		r, err := parseRequest(&header)
		switch {
		case err != nil:
			return err
		case r.command == nbdwire.CmdDisconnect:
			return errBye
		case r.command == nbdwire.CmdWrite && r.length > maxData:
			return fmt.Errorf("a write of %d bytes is over %d", r.length, maxData)
		}
		s.room <- struct{}{} // before its data takes memory
		if r.command == nbdwire.CmdWrite {
			r.data = make([]byte, r.length)
			if _, err := io.ReadFull(in, r.data); err != nil {
				return err
			}
		}
		s.running.Go(func() {
			defer func() { <-s.room }()
			s.answer(&r)
		})
	}
}

// answer runs a request and sends its reply.
func (s *server) answer(r *request) {
	began := time.Now()
	out, kind, err := s.paced(r)
	if s.export.Count != nil {
		moved := 0
		if err == nil && kind != Other {
			moved = int(r.length)
		}
		s.export.Count(kind, moved, err != nil, time.Since(began))
	}
	if err != nil || out == nil {
		out = make([]byte, nbdwire.SimpleSize)
	}
	binary.BigEndian.PutUint32(out, nbdwire.SimpleMagic)
	binary.BigEndian.PutUint32(out[4:], errnoOf(err))
	copy(out[8:], r.cookie[:])
	s.sending.Lock()
	defer s.sending.Unlock()
	if _, err := s.conn.Write(out); err != nil {
		s.gone()
		_ = s.conn.Close() // the reader finds it broken
	}
}

// paced is run when the request's time has come.
func (s *server) paced(r *request) (out []byte, kind Kind, err error) {
	if s.export.Pace != nil {
		kind, bytes := Other, 0
		switch r.command {
		case nbdwire.CmdRead:
			kind, bytes = Read, int(r.length)
		case nbdwire.CmdWrite:
			kind, bytes = Write, int(r.length)
		case nbdwire.CmdTrim, nbdwire.CmdWriteZeroes: // they move nothing
			kind = Write
		}
		if err := s.export.Pace(s.ctx, kind, bytes); err != nil {
			return nil, kind, err
		}
	}
	if s.ctx.Err() != nil {
		return nil, Other, context.Cause(s.ctx)
	}
	return s.run(r)
}

// run does what a request asks for. What was read is returned behind room for the reply's header.
func (s *server) run(r *request) (out []byte, kind Kind, err error) {
	e := s.export
	size := e.Device.Size()
	inside := r.offset >= 0 && r.offset <= size && r.length <= size-r.offset
	switch r.command {
	case nbdwire.CmdRead:
		if !inside || r.length > maxData {
			return nil, Read, syscall.EINVAL
		}
		out = make([]byte, nbdwire.SimpleSize+r.length)
		_, err = e.Device.ReadAt(out[nbdwire.SimpleSize:], r.offset)
		return out, Read, err
	case nbdwire.CmdFlush:
		return nil, Other, e.Device.Flush(s.ctx)
	case nbdwire.CmdWrite, nbdwire.CmdTrim, nbdwire.CmdWriteZeroes:
	default:
		return nil, Other, syscall.EINVAL
	}
	switch {
	case e.ReadOnly:
		return nil, Write, syscall.EPERM
	case !inside && r.command == nbdwire.CmdWrite:
		return nil, Write, syscall.ENOSPC
	case !inside:
		return nil, Write, syscall.EINVAL
	case e.Gate != nil && !e.Gate.Enter(s.ctx):
		return nil, Write, syscall.EPERM
	}
	if e.Gate != nil {
		defer e.Gate.Leave()
	}
	if e.Order != nil {
		end, err := e.Order.begin(s.ctx, s, r.offset, r.length)
		if err != nil {
			return nil, Write, err
		}
		defer end()
	}
	switch r.command {
	case nbdwire.CmdWrite:
		_, err = e.Device.WriteAt(r.data, r.offset)
	case nbdwire.CmdTrim:
		err = e.Device.Discard(r.offset, r.length)
	case nbdwire.CmdWriteZeroes:
		err = e.Device.WriteZeroes(r.offset, r.length, r.flags&nbdwire.FlagNoHole == 0)
	}
	if err == nil && r.flags&nbdwire.FlagFUA != 0 {
		err = e.Device.Flush(s.ctx)
	}
	return nil, Write, err
}

package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"elstore/volume/nbdwire"
)

// Secured is a connection whose client has begun TLS as its Config demands.
type Secured struct {
	conn   *tls.Conn
	zeroes bool
}

// Secure greets a client and has it begin TLS (NBD_OPT_STARTTLS), before which it gets nothing, the names of exports included
// (the protocol's FORCEDTLS mode). With an error, or when ctx ends meanwhile, the connection is closed.
func Secure(ctx context.Context, conn net.Conn, cfg *tls.Config) (_ *Secured, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() {
		if err != nil {
			_ = conn.Close()
			err = fmt.Errorf("NBD handshake: %w", err)
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, err
	}
	zeroes, err := greet(conn)
	if err != nil {
		return nil, err
	}
	err = haggle(conn, func(option uint32, data []byte) (bool, error) {
		switch {
		case option == nbdwire.OptStartTLS && len(data) == 0:
			return true, replyTo(conn, option, nbdwire.RepAck, nil)
		case option == nbdwire.OptStartTLS:
			return false, replyTo(conn, option, nbdwire.RepInvalid, nil)
		case option == nbdwire.OptAbort:
			return false, errors.Join(replyTo(conn, option, nbdwire.RepAck, nil), errAborted)
		case option == nbdwire.OptExportName: // which has no reply that would refuse
			return false, errors.New("the client asks for an export without TLS")
		}
		return false, replyTo(conn, option, nbdwire.RepTLSReqd, nil)
	})
	if err != nil {
		return nil, err
	}
	// What the client sent behind its option is the beginning of TLS, or fails there: nothing of it was taken in before.
	s := &Secured{conn: tls.Server(conn, cfg), zeroes: zeroes}
	if err := s.conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// State says who the client is.
func (s *Secured) State() tls.ConnectionState { return s.conn.ConnectionState() }

// Close ends a connection that is not served.
func (s *Secured) Close() error { return s.conn.NetConn().Close() }

// Serve is Serve for what Secure returned.
func (s *Secured) Serve(ctx context.Context, e Export) error {
	// Closing what is below cuts at once: TLS would take its time to say goodbye.
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	defer s.conn.Close()
	return transmit(ctx, s.conn, &e, s.zeroes)
}

package network

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"elstore/export/nbd"
)

// ErrClosed is what Listen ends with after Stop.
var ErrClosed = errors.New("the server of NBD exports has stopped")

const (
	// maxWaiting is how many connections may be on their way to prove who they are.
	maxWaiting = 256
	// maxAcceptDelay is how long accepting pauses at most where the machine lacks what it takes, such as descriptors.
	maxAcceptDelay = time.Second
)

// A client whose host is gone has to be noticed soon: it keeps itself out when it comes back, as QEMU tries for two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

// userTimeout is after how long without an answer to what was sent a connection is given up, in milliseconds; tcp(7).
const userTimeout = 20_000

// Listen serves who connects to a portal, until Stop: it returns ErrClosed then, and else what made the listener fail.
func (k *Kind) Listen(l net.Listener) error {
	k.mu.Lock()
	if k.stopped {
		k.mu.Unlock()
		_ = l.Close()
		return ErrClosed
	}
	k.listeners[l] = struct{}{}
	k.mu.Unlock()
	defer l.Close()
	var delay time.Duration
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			k.take(conn)
		case k.gone():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			delay = min(max(2*delay, time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-k.ctx.Done():
			}
		}
	}
}

// gone reports whether the kind has stopped.
func (k *Kind) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// take serves a connection, unless too many are on their way.
func (k *Kind) take(conn net.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped || k.waiting == maxWaiting {
		_ = conn.Close()
		return
	}
	k.waiting++
	k.running.Go(func() { k.serve(conn) })
}

// serve finds out whose a connection is, and serves it.
func (k *Kind) serve(conn net.Conn) {
	remote := conn.RemoteAddr().String()
	if err := tune(conn); err != nil {
		k.cfg.Log.Debug("NBD connection not tuned", slog.String("remote", remote), slog.Any("error", err))
	}
	client, err := nbd.Secure(k.ctx, conn, k.tls)
	k.mu.Lock()
	k.waiting--
	k.mu.Unlock()
	if err == nil {
		defer client.Close() //nolint:errcheck // which does nothing where it was served
		var a *attached
		if a, err = k.of(client.State()); err == nil {
			err = a.Serve(a.user, remote, func(ctx context.Context, e nbd.Export) error {
				if _, err := k.of(client.State()); err != nil { // its key was replaced before it was in
					return err
				}
				return client.Serve(ctx, e)
			})
		}
	}
	if err != nil {
		k.cfg.Log.Debug("NBD connection ended", slog.String("remote", remote), slog.Any("error", err))
	}
}

// tune has a connection whose peer is gone end.
func tune(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
	})
	return errors.Join(err, set, tcp.SetKeepAliveConfig(keepAlive))
}

// errStranger is what nobody who is refused learns more than.
var errStranger = errors.New("the client's key is not that of an export")

// of returns whose a connection is: the certificate says it, and only the key that the attachment has now counts.
func (k *Kind) of(s tls.ConnectionState) (*attached, error) {
	if len(s.PeerCertificates) == 0 {
		return nil, errStranger
	}
	cert := s.PeerCertificates[0]
	k.mu.Lock()
	a := k.attached[cert.Subject.CommonName]
	k.mu.Unlock()
	if a == nil {
		return nil, errStranger
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !key.Equal(a.key) {
		return nil, errStranger
	}
	return a, nil
}

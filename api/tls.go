package api

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
)

// Certificate is a TLS certificate in two files, taken up again when they change. Its methods may be called at the same
// time.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	files             *watched

	now atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads the certificate, with its chain, and the key that fits it, both PEM. What is wrong with files that
// change later goes to log, and the certificate that was is kept.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, files: watch(certFile, keyFile)}
	return c, c.load()
}

func (c *Certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("the certificate %s and its key %s can't be used: %w", c.certFile, c.keyFile, err)
	}
	c.now.Store(&pair)
	return nil
}

// current is for tls.Config.GetCertificate.
func (c *Certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.files.look(func() {
		if err := c.load(); err != nil {
			c.log.Warn("the new certificate is not taken up, the old one is kept", slog.Any("error", err))
			return
		}
		c.log.Info("new certificate", slog.String("file", c.certFile), slog.Time("not_after", c.now.Load().Leaf.NotAfter))
	})
	return c.now.Load(), nil
}

// Secure makes the connections of l TLS ones, of version 1.2 or later, with HTTP/1.1 in them. clients, where it is not nil,
// has the authorities of client certificates: a connection may have one, and one that they didn't sign is refused. Whether one
// was revoked is asked with each request.
func Secure(l net.Listener, c *Certificate, clients *Clients) net.Listener {
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current, NextProtos: []string{"http/1.1"}}
	if clients == nil {
		return tls.NewListener(l, config)
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.SessionTicketsDisabled = true // a session that is resumed would not be looked at by authorities that changed
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		mine := config.Clone()
		mine.GetConfigForClient = nil
		mine.ClientCAs = clients.current().pool
		return mine, nil
	}
	return tls.NewListener(l, config)
}

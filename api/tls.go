package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// lookInterval is how often handshakes look whether the certificate's files changed.
const lookInterval = time.Second

// Certificate is a TLS certificate in two files, taken up again when they change. Its methods may be called at the same
// time.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	now atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // over looking
	looked time.Time
	seen   [2]stamp // of the files when they were last read
}

// stamp tells a file from what it was before.
type stamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads the certificate, with its chain, and the key that fits it, both PEM. What is wrong with files that
// change later goes to log, and the certificate that was is kept.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now(), seen: stampsOf(certFile, keyFile)}
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
	if c.mu.TryLock() { // who comes while another looks takes what there is
		defer c.mu.Unlock()
		if now := time.Now(); now.Sub(c.looked) >= lookInterval {
			c.looked = now
			c.look()
		}
	}
	return c.now.Load(), nil
}

// look takes up files that changed. The two can't be replaced in one moment, so a pair that doesn't fit may be half of a
// change: the other half is seen when it comes.
func (c *Certificate) look() {
	at := stampsOf(c.certFile, c.keyFile)
	if at == c.seen {
		return
	}
	c.seen = at
	if err := c.load(); err != nil {
		c.log.Warn("the new certificate is not taken up, the old one is kept", slog.Any("error", err))
		return
	}
	c.log.Info("new certificate", slog.String("file", c.certFile), slog.Time("not_after", c.now.Load().Leaf.NotAfter))
}

func stampsOf(files ...string) (stamps [2]stamp) {
	for i, file := range files {
		if info, err := os.Stat(file); err == nil { // what is missing has no stamp; loading says so
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// LoadAuthorities reads the certificates of the authorities whose client certificates are taken, PEM.
func LoadAuthorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New(file + " has no certificate in PEM")
	}
	return pool, nil
}

// Secure makes the connections of l TLS ones, of version 1.2 or later, with HTTP/1.1 in them. clients, where it is not nil,
// are the authorities of client certificates: a connection may have one, and one that they didn't sign is refused.
func Secure(l net.Listener, c *Certificate, clients *x509.CertPool) net.Listener {
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.current, NextProtos: []string{"http/1.1"}}
	if clients != nil {
		config.ClientCAs, config.ClientAuth = clients, tls.VerifyClientCertIfGiven
	}
	return tls.NewListener(l, config)
}

package api

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"elstore/volume/fault"
)

// Clients are the authorities whose client certificates are taken, and the certificates that they revoked, in files that are
// taken up again when they change. Its methods may be called at the same time.
type Clients struct {
	authorityFile, revokedFile string
	log                        *slog.Logger
	files                      *watched

	now atomic.Pointer[trusted]
}

// trusted is what stands in the files.
type trusted struct {
	pool        *x509.CertPool
	authorities map[string]bool        // by their certificates
	revoked     map[string]*revocation // by the authority: see keyOf
}

// revocation is an authority's list of certificates that are no good any more.
type revocation struct {
	made, until time.Time // until is zero where it doesn't say
	serials     map[string]bool
}

// LoadClients reads the certificates of authorities, PEM, and where revokedFile is not "" their lists of revoked certificates
// (RFC 5280 section 5), PEM or a single one in DER. Where what stands in the files later is no good, it says so to log, and
// what was is kept.
func LoadClients(authorityFile, revokedFile string, log *slog.Logger) (*Clients, error) {
	c := &Clients{authorityFile: authorityFile, revokedFile: revokedFile, log: log, files: watch(authorityFile, revokedFile)}
	return c, c.load()
}

func (c *Clients) load() error {
	t := &trusted{pool: x509.NewCertPool(), authorities: map[string]bool{}, revoked: map[string]*revocation{}}
	data, err := os.ReadFile(c.authorityFile)
	if err != nil {
		return err
	}
	var authorities []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", c.authorityFile, err)
		}
		t.pool.AddCert(cert)
		t.authorities[string(cert.Raw)] = true
		authorities = append(authorities, cert)
	}
	if authorities == nil {
		return errors.New(c.authorityFile + " has no certificate in PEM")
	}
	if c.revokedFile != "" {
		if err := t.loadRevoked(c.revokedFile, authorities); err != nil {
			return fmt.Errorf("%s: %w", c.revokedFile, err)
		}
	}
	c.now.Store(t)
	return nil
}

// loadRevoked reads the lists of revoked certificates in a file. Each must be one of the authorities'.
func (t *trusted) loadRevoked(file string, authorities []*x509.Certificate) error {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return err
	}
	lists := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		if err := t.addRevoked(block.Bytes, authorities); err != nil {
			return err
		}
		lists++
	}
	if lists == 0 {
		return t.addRevoked(data, authorities)
	}
	return nil
}

func (t *trusted) addRevoked(der []byte, authorities []*x509.Certificate) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("it has no list of revoked certificates (CRL), PEM or DER: %w", err)
	}
	for _, e := range list.Extensions {
		if e.Critical { // a list of changes, or of part of the certificates: RFC 5280 sections 5.2.4 and 5.2.5
			return fmt.Errorf("the list of %s is not one of all its revoked certificates: it has the critical extension %v", list.Issuer, e.Id)
		}
	}
	for _, a := range authorities {
		if string(a.RawSubject) != string(list.RawIssuer) || list.CheckSignatureFrom(a) != nil {
			continue
		}
		if old := t.revoked[keyOf(a)]; old != nil && old.made.After(list.ThisUpdate) {
			return nil
		}
		r := &revocation{made: list.ThisUpdate, until: list.NextUpdate, serials: make(map[string]bool, len(list.RevokedCertificateEntries))}
		for i := range list.RevokedCertificateEntries {
			r.serials[list.RevokedCertificateEntries[i].SerialNumber.String()] = true
		}
		t.revoked[keyOf(a)] = r
		return nil
	}
	return fmt.Errorf("the list of %s is signed by none of the authorities", list.Issuer)
}

// keyOf tells authorities apart, whose certificates may be renewed.
func keyOf(authority *x509.Certificate) string {
	return string(authority.RawSubject) + string(authority.RawSubjectPublicKeyInfo)
}

func (c *Clients) current() *trusted {
	c.files.look(func() {
		if err := c.load(); err != nil {
			c.log.Warn("the new authorities of client certificates are not taken up, the old ones are kept", slog.Any("error", err))
			return
		}
		c.log.Info("new authorities of client certificates, or lists of revoked ones", slog.String("file", c.authorityFile))
	})
	return c.now.Load()
}

// Check returns nil if one of the chains, from a certificate to an authority, is good now: its authority is one still, and
// nothing in it was revoked. Otherwise it is Unauthorized. It is cheap, and made for every request.
func (c *Clients) Check(chains [][]*x509.Certificate) error {
	now, t := time.Now(), c.current()
	var err error = fault.Errorf(fault.Unauthorized, "the connection has no client certificate")
	for _, chain := range chains {
		if err = t.check(chain, now); err == nil {
			return nil
		}
	}
	return err
}

func (t *trusted) check(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 || !t.authorities[string(chain[len(chain)-1].Raw)] {
		return fault.Errorf(fault.Unauthorized, "the client certificate's authority is not taken any more")
	}
	for i, cert := range chain[:len(chain)-1] {
		list := t.revoked[keyOf(chain[i+1])]
		switch {
		case list == nil:
		case list.serials[cert.SerialNumber.String()]:
			return fault.Errorf(fault.Unauthorized, "the client certificate was revoked")
		case !list.until.IsZero() && now.After(list.until): // whom it would name now is not known
			return fault.Errorf(fault.Unauthorized, "the list of revoked certificates that this server has was good until %s; it needs a new one", list.until.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

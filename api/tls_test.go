package api

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, a.cert, _ = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	return a
}

var serial int64

// sign returns a new key and its certificate, by a itself where it has none yet.
func (a *authority) sign(template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial++
	template.SerialNumber = big.NewInt(serial)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// files writes a certificate for 127.0.0.1 with a serial of its own, and its key.
func (a *authority) files(certFile, keyFile string) *x509.Certificate {
	a.t.Helper()
	key, cert, text := a.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.write(certFile, text)
	a.writeKey(keyFile, key)
	return cert
}

func (a *authority) write(file string, data []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) writeKey(file string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// clients has the authority in a file of its own, and takes none for revoked.
func (a *authority) clients() *Clients {
	a.t.Helper()
	file := filepath.Join(a.t.TempDir(), "ca")
	a.write(file, pemOf(a.cert))
	c, err := LoadClients(file, "", slog.New(slog.DiscardHandler))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func pemOf(certs ...*x509.Certificate) (text []byte) {
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func TestCertificatesThatCantBeUsed(t *testing.T) {
	a := newAuthority(t, "ca")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	a.files(path("cert"), path("key"))
	a.files(path("other-cert"), path("other-key"))
	a.write(path("empty"), nil)
	for name, files := range map[string][2]string{
		"another's key": {path("cert"), path("other-key")}, "no key": {path("cert"), path("none")}, "no certificate": {path("none"), path("key")},
		"the wrong way round": {path("key"), path("cert")}, "empty": {path("empty"), path("empty")},
	} {
		if _, err := LoadCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), files[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCertificateIsTakenUpAnew: a new pair counts within a second, a key that doesn't fit leaves the old one in place, and
// the missing half is seen when it comes.
func TestCertificateIsTakenUpAnew(t *testing.T) {
	a := newAuthority(t, "ca")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	first := a.files(certFile, keyFile)
	second := a.files(filepath.Join(dir, "cert2"), filepath.Join(dir, "key2"))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		serves := func(want *x509.Certificate, when string) {
			t.Helper()
			<-time.After(lookInterval)
			got, err := c.current(nil)
			if err != nil || got.Leaf.SerialNumber.Cmp(want.SerialNumber) != 0 {
				t.Fatalf("%s: %v, %v; want %v", when, got.Leaf.SerialNumber, err, want.SerialNumber)
			}
		}
		replace := func(file, by string) {
			t.Helper()
			if err := os.Rename(by, file); err != nil {
				t.Fatal(err)
			}
			later := time.Now().Add(time.Hour) // a file system may count whole seconds
			if err := os.Chtimes(file, later, later); err != nil {
				t.Fatal(err)
			}
		}
		serves(first, "at first")
		replace(certFile, filepath.Join(dir, "cert2"))
		serves(first, "with half of a new one")
		serves(first, "still")
		if n := strings.Count(log.String(), "not taken up"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		replace(keyFile, filepath.Join(dir, "key2"))
		serves(second, "with the whole of it")
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		serves(second, "without the key")
		if strings.Contains(log.String(), "PRIVATE") {
			t.Errorf("a key is in the log:\n%s", log.String())
		}
	})
}

// TestMutualTLS: who has a certificate of the authority is who it says, everybody else is anonymous or not let in at all.
func TestMutualTLS(t *testing.T) {
	const me = "000102030405060708090a0b0c0d0e0f"
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	dir := t.TempDir()
	ours.files(filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
	cert, err := LoadCertificate(filepath.Join(dir, "cert"), filepath.Join(dir, "key"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	tokens, err := access.OpenTokens(state)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server := NewServer(New(Config{Log: quiet, Access: access.NewControl(tokens, nil), Routes: []rest.Route{{
		Methods: []string{"GET"}, Path: "/version",
		Handler: func(w http.ResponseWriter, r *http.Request) error {
			c := access.CallerOf(r.Context())
			return rest.Reply(w, http.StatusOK, c.Role.String()+" "+c.Identity.String())
		},
	}}}), quiet)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(Secure(l, cert, ours.clients())) }()
	defer func() { server.Close(); <-served }()
	client := func(from *authority, name pkix.Name, more ...func(*x509.Certificate)) tls.Certificate {
		template := &x509.Certificate{Subject: name, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, fn := range more {
			fn(template)
		}
		key, cert, _ := from.sign(template)
		return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	tests := []struct {
		name  string
		certs []tls.Certificate
		max   uint16
		want  string // "" is no connection
	}{
		{name: "a user", certs: []tls.Certificate{client(ours, pkix.Name{CommonName: me})}, want: `"user ` + me},
		{name: "an operator", certs: []tls.Certificate{client(ours, pkix.Name{CommonName: "jo", OrganizationalUnit: []string{"elstore-operator"}})}, want: `"operator `},
		{name: "nobody's name", certs: []tls.Certificate{client(ours, pkix.Name{CommonName: "jo"})}, want: "Unauthorized"},
		{name: "no certificate", want: "Unauthorized"},
		{name: "another authority's", certs: []tls.Certificate{client(others, pkix.Name{CommonName: me})}},
		{name: "one that has expired", certs: []tls.Certificate{client(ours, pkix.Name{CommonName: me}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}},
		{name: "one for servers", certs: []tls.Certificate{client(ours, pkix.Name{CommonName: me}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})}},
		{name: "an old TLS", max: tls.VersionTLS11},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Whatever authorities the server names, the certificate is sent.
			config := &tls.Config{RootCAs: ours.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
			if tt.certs != nil {
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.certs[0], nil }
			}
			web := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
			defer web.CloseIdleConnections()
			resp, err := web.Get("https://" + l.Addr().String() + "/api/v1/version")
			if tt.want == "" {
				if err == nil {
					t.Fatalf("it is let in: %s", resp.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(body), tt.want) || resp.ProtoMajor != 1 {
				t.Errorf("%s %s, %v", resp.Proto, body, err)
			}
		})
	}
}

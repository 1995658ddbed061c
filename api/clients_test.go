package api

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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
	"elstore/volume/fault"
)

// revoke returns a list of revoked certificates, made in a second of its own.
func (a *authority) revoke(change func(*x509.RevocationList), certs ...*x509.Certificate) []byte {
	a.t.Helper()
	serial++
	list := &x509.RevocationList{Number: big.NewInt(serial), ThisUpdate: time.Now().Add(-time.Hour + time.Duration(serial)*time.Second), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, cert := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func crlPEM(lists ...[]byte) (text []byte) {
	for _, der := range lists {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return text
}

func (a *authority) client(name string) (tls.Certificate, *x509.Certificate) {
	key, cert, _ := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, cert
}

func TestRevokedCertificates(t *testing.T) {
	ours, second, others := newAuthority(t, "ours"), newAuthority(t, "second"), newAuthority(t, "others")
	_, good := ours.client("good")
	_, bad := ours.client("bad")
	_, also := second.client("also")
	also.SerialNumber = bad.SerialNumber // serials are the authority's own
	_, strange := others.client("strange")
	critical := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}} // of changes alone
	}
	old := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	older := func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(-3 * time.Hour) }
	forged := *others
	forged.cert = ours.cert // its name, with another key
	for name, tt := range map[string]struct {
		list    []byte
		refused string // loading is
		good    string // what is wrong with it, "" for nothing
		bad     string
	}{
		"none revoked":       {list: crlPEM(ours.revoke(nil))},
		"one revoked":        {list: crlPEM(ours.revoke(nil, bad)), bad: "was revoked"},
		"in DER":             {list: ours.revoke(nil, bad), bad: "was revoked"},
		"of two authorities": {list: crlPEM(second.revoke(nil), ours.revoke(nil, bad)), bad: "was revoked"},
		"of the other one":   {list: crlPEM(second.revoke(nil, good))},
		"the newer one":      {list: crlPEM(ours.revoke(nil, bad), ours.revoke(older)), bad: "was revoked"},
		"the newer one last": {list: crlPEM(ours.revoke(older, good), ours.revoke(nil, bad)), bad: "was revoked"},
		"not good any more":  {list: crlPEM(ours.revoke(old, bad)), good: "needs a new one", bad: "was revoked"},
		"of a strange one":   {list: crlPEM(others.revoke(nil, good)), refused: "signed by none"},
		"with a forged name": {list: crlPEM((&forged).revoke(nil, good)), refused: "signed by none"},
		"of changes":         {list: crlPEM(ours.revoke(critical, good)), refused: "critical extension"},
		"one bad among them": {list: crlPEM(ours.revoke(nil), []byte("x")), refused: "no list of revoked certificates"},
		"empty":              {refused: "no list of revoked certificates"},
		"a certificate":      {list: pemOf(ours.cert), refused: "no list of revoked certificates"},
		"cut off":            {list: ours.revoke(nil, bad)[:40], refused: "no list of revoked certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ours.write(dir+"/ca", pemOf(ours.cert, second.cert))
			ours.write(dir+"/crl", tt.list)
			c, err := LoadClients(dir+"/ca", dir+"/crl", slog.New(slog.DiscardHandler))
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), dir+"/crl") {
					t.Errorf("%v; want %s", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for who, check := range map[string]struct {
				chain []*x509.Certificate
				want  string
			}{
				"good": {[]*x509.Certificate{good, ours.cert}, tt.good}, "bad": {[]*x509.Certificate{bad, ours.cert}, tt.bad},
				"another's with that serial": {[]*x509.Certificate{also, second.cert}, ""}, "a stranger's": {[]*x509.Certificate{strange, others.cert}, "not taken any more"},
				"one below it": {[]*x509.Certificate{strange, bad, ours.cert}, tt.bad}, "none": {nil, "not taken any more"},
			} {
				err, text := c.Check([][]*x509.Certificate{check.chain}), ""
				if err != nil {
					text = err.Error()
				}
				if (err == nil) != (check.want == "") || err != nil && !fault.Is(err, fault.Unauthorized) || !strings.Contains(text, check.want) {
					t.Errorf("%s: %v; want %q", who, err, check.want)
				}
			}
			if err := c.Check([][]*x509.Certificate{{strange, others.cert}, {also, second.cert}}); err != nil {
				t.Errorf("of two chains one is good: %v", err)
			}
		})
	}
}

func TestAuthoritiesThatCantBeUsed(t *testing.T) {
	a := newAuthority(t, "ca")
	dir := t.TempDir()
	a.files(dir+"/cert", dir+"/key")
	a.write(dir+"/empty", nil)
	a.write(dir+"/half", append(pemOf(a.cert), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...))
	for _, file := range []string{"none", "empty", "key", "half"} {
		if _, err := LoadClients(filepath.Join(dir, file), "", slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := LoadClients(dir+"/cert", dir+"/none", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a list that is missing is taken")
	}
}

// TestClientsAreTakenUpAnew: authorities that go and lists that come count within a second, and what is no good leaves the old
// ones in place.
func TestClientsAreTakenUpAnew(t *testing.T) {
	ours, next := newAuthority(t, "ours"), newAuthority(t, "next")
	_, mine := ours.client("mine")
	dir := t.TempDir()
	ours.write(dir+"/ca", pemOf(ours.cert))
	ours.write(dir+"/crl", ours.revoke(nil))
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := LoadClients(dir+"/ca", dir+"/crl", slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		change := func(file string, data []byte) {
			t.Helper()
			ours.write(filepath.Join(dir, file), data)
			changes++
			later := time.Now().Add(time.Duration(changes) * time.Hour) // a file system may count whole seconds
			if err := os.Chtimes(filepath.Join(dir, file), later, later); err != nil {
				t.Fatal(err)
			}
		}
		want := func(good bool, when string) {
			t.Helper()
			<-time.After(lookInterval)
			if err := c.Check([][]*x509.Certificate{{mine, ours.cert}}); (err == nil) != good {
				t.Fatalf("%s: %v", when, err)
			}
		}
		want(true, "at first")
		change("crl", []byte("nonsense"))
		want(true, "with a list that is none")
		want(true, "still")
		if n := strings.Count(log.String(), "not taken up"); n != 1 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		change("crl", crlPEM(ours.revoke(nil, mine)))
		want(false, "revoked")
		change("crl", crlPEM(ours.revoke(nil)))
		want(true, "not any more")
		change("ca", pemOf(next.cert, ours.cert))
		want(true, "with two authorities")
		change("crl", crlPEM(next.revoke(nil)))
		change("ca", pemOf(next.cert))
		want(false, "without its authority")
		if err := os.Remove(dir + "/ca"); err != nil {
			t.Fatal(err)
		}
		want(false, "without the file")
	})
}

// TestRevokedOnALiveConnection: a certificate that is revoked is refused on the connection that it began, a stream of it ends, and
// new connections are of the authorities that there are then.
func TestRevokedOnALiveConnection(t *testing.T) {
	ours, next := newAuthority(t, "ours"), newAuthority(t, "next")
	const me = "000102030405060708090a0b0c0d0e0f"
	mine, cert := ours.client(me)
	later, _ := next.client(me)
	dir := t.TempDir()
	ours.files(dir+"/cert", dir+"/key")
	ours.write(dir+"/ca", pemOf(ours.cert))
	ours.write(dir+"/crl", ours.revoke(nil))
	quiet := slog.New(slog.DiscardHandler)
	pair, err := LoadCertificate(dir+"/cert", dir+"/key", quiet)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := LoadClients(dir+"/ca", dir+"/crl", quiet)
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
	callers := make(chan *access.Caller, 1)
	server := NewServer(New(Config{Log: quiet, Access: access.NewControl(tokens, nil).WithCheck(clients.Check), Routes: []rest.Route{{
		Methods: []string{"GET"}, Path: "/version",
		Handler: func(w http.ResponseWriter, r *http.Request) error {
			select {
			case callers <- access.CallerOf(r.Context()):
			default:
			}
			return rest.Reply(w, http.StatusOK, r.RemoteAddr)
		},
	}}}), quiet)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(Secure(l, pair, clients)) }()
	defer func() { server.Close(); <-served }()
	browser := func(c *tls.Certificate) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: ours.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(10),
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil },
		}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	ask := func(web *http.Client) (string, error) {
		resp, err := web.Get("https://" + l.Addr().String() + "/api/v1/version")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	until := func(web *http.Client, want string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			got, err := ask(web)
			if err != nil {
				got = err.Error()
			}
			if strings.Contains(got, want) {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("%q never says %q", got, want)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	web := browser(&mine)
	connection, err := ask(web)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ask(web); err != nil || again != connection {
		t.Fatalf("%s and %s are no one connection, %v", connection, again, err)
	}
	caller := <-callers
	if caller.Gone() {
		t.Error("the caller is gone")
	}
	ours.write(dir+"/crl", append(ours.revoke(nil, cert), '\n')) // another size, whatever the file system's clock says
	until(web, "was revoked")
	if !caller.Gone() {
		t.Error("the caller is there still")
	}
	ours.write(dir+"/crl", crlPEM(next.revoke(nil)))
	ours.write(dir+"/ca", pemOf(next.cert, next.cert))
	until(web, "not taken any more")
	until(browser(&later), "127.0.0.1")
	if got, err := ask(browser(&mine)); err == nil {
		t.Errorf("a new connection with a certificate of the old authority: %s", got)
	}
}

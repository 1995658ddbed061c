package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"elstore/export/iscsi/login"
)

// Certificates are valid always: what ends is the attachment. The second is RFC 5280's for no end, section 4.1.2.5.
var (
	validFrom = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// newSecret makes a secret of 130 bits, as a key is derived from.
func newSecret() login.Secret { return login.NewSecret(rand.Text()) }

// deriveKey makes a key on P-256 of a secret, always the same one. purpose keeps keys of one secret apart.
func deriveKey(secret login.Secret, purpose string) (*ecdsa.PrivateKey, error) {
	if secret.IsZero() {
		return nil, errors.New("there is no secret to make a key of")
	}
	for try := range 128 { // a number that is no key comes once in 2^32
		seed, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, fmt.Sprintf("elstore nbd %s %d", purpose, try), 32)
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("no key can be made of the secret")
}

// authority signs the certificates of a server and of its clients.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(secret login.Secret) (*authority, error) {
	key, err := deriveKey(secret, "authority")
	if err != nil {
		return nil, err
	}
	a := &authority{key: key}
	t := template("elstore authority", &key.PublicKey)
	t.IsCA, t.KeyUsage, t.MaxPathLenZero = true, x509.KeyUsageCertSign, true
	a.cert, err = sign(t, t, &key.PublicKey, key)
	return a, err
}

// template is what all certificates have. Their serial numbers are made of their keys: no two have the same.
func template(name string, key *ecdsa.PublicKey) *x509.Certificate {
	point, _ := key.Bytes() // of a key that is valid
	sum := sha256.Sum256(point)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(sum[:15]), Subject: pkix.Name{CommonName: name},
		NotBefore: validFrom, NotAfter: validTo, BasicConstraintsValid: true,
	}
}

// sign makes a certificate. Without randomness the signature is that of RFC 6979, always the same.
func sign(t, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(nil, t, parent, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// server makes the server's certificate for the hosts that clients know it by, addresses and names.
func (a *authority) server(secret login.Secret, hosts []string) (tls.Certificate, error) {
	key, err := deriveKey(secret, "server")
	if err != nil {
		return tls.Certificate{}, err
	}
	t := template("elstore", &key.PublicKey)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	cert, err := sign(t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// credentials are what a client proves itself by, as PEM.
type credentials struct{ authority, certificate, key string }

// client makes an attachment's credentials, which name the user.
func (a *authority) client(user string, secret login.Secret) (c credentials, err error) {
	key, err := deriveKey(secret, "client")
	if err != nil {
		return c, err
	}
	t := template(user, &key.PublicKey)
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := sign(t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return c, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return credentials{text("CERTIFICATE", a.cert.Raw), text("CERTIFICATE", cert.Raw), text("PRIVATE KEY", der)}, nil
}

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/volume/durable"
)

const (
	certFile = "elstore-cert.pem"
	keyFile  = "elstore-key.pem"
)

func newCertCommand() *cobra.Command {
	var (
		dir     string
		days    int
		replace bool
	)
	cmd := &cobra.Command{
		Use:   "cert HOST...",
		Short: "Make a self-signed certificate for a server, to begin with",
		Long: `Make a key and a certificate that it signed itself, for the names and addresses under which the
server is reached, as ` + certFile + ` and ` + keyFile + `. The server takes them with --tls-cert
and --tls-key, and a client knows it by the certificate, with --ca. A running server takes up new
ones by itself. Clients can't be told of a key that was stolen but by another certificate: a server
for many clients better has one of an authority.`,
		Example: `  elstore cert storage.example.com 192.0.2.10
  elstore cert --dir ./tls --days 90 --replace storage.example.com`,
		Args: args(1, -1, "HOST..."),
		RunE: func(cmd *cobra.Command, hosts []string) error {
			if days < 1 || days > 3650 {
				return usagef("--days is %d; it is from 1 to 3650", days)
			}
			cert, key, err := selfSigned(hosts, time.Now(), days)
			if err != nil {
				return err
			}
			if err := writePair(dir, cert, key, replace); err != nil {
				return err
			}
			block, _ := pem.Decode(cert)
			sum := sha256.Sum256(block.Bytes)
			return printf(cmd, "Made %s and %s, for %s, good for %d days.\nIts SHA-256 is %s.\n",
				filepath.Join(dir, certFile), filepath.Join(dir, keyFile), strings.Join(hosts, ", "), days, hex.EncodeToString(sum[:]))
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", ".", "directory to write them to")
	f.IntVar(&days, "days", 365, "how long it is good")
	f.BoolVar(&replace, "replace", false, "replace those that are there")
	return cmd
}

// selfSigned makes a certificate and its key, both PEM, good from an hour ago, for clocks that differ.
func selfSigned(hosts []string, now time.Time, days int) (cert, key []byte, err error) {
	template := &x509.Certificate{
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, days), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		Subject: pkix.Name{CommonName: hosts[0], Organization: []string{"elstore"}},
	}
	for _, host := range hosts {
		switch ip := net.ParseIP(host); {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case host == "" || len(host) > 253 || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.*") != "":
			return nil, nil, usagef("%q is no name of a host, nor an address", host)
		default:
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(hosts[0]) > 64 { // the most that a common name has; the names that count are the others
		template.Subject.CommonName = ""
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, fmt.Errorf("make the certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// writePair writes the key first: a server that looks between the two keeps what it had.
func writePair(dir string, cert, key []byte, replace bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{keyFile, certFile} {
		if _, err := root.Lstat(name); err == nil && !replace {
			return usagef("%s is there already; say --replace to replace it", filepath.Join(dir, name))
		}
	}
	if err := durable.WriteFile(root, keyFile, key, 0o600); err != nil {
		return err
	}
	return durable.WriteFile(root, certFile, cert, 0o644)
}

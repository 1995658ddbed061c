package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"elstore/api/client"
)

const accessHelp = `A server that asks who you are wants a token. The variable ELSTORE_TOKEN has it, or a file
that --token-file or ELSTORE_TOKEN_FILE names. An operator makes tokens with elstore token create.

A token of the role user or reader says which client you are, so that --client can be left out;
with one of the other roles you name the client that you act for.

A server whose certificate no public authority signed is known by the file that --ca or
ELSTORE_CA names, with the certificate of its authority, or its own where elstore cert made it.
`

// maxSecretFile is how large a file with a token may be, in bytes.
const maxSecretFile = 16 << 10

// orEnv is a flag's value, or else a variable's.
func orEnv(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return os.Getenv(variable)
}

// token is what the server is shown; "" is nothing.
func (c *cli) token() (string, error) {
	path := c.tokenFile
	if path == "" {
		if text := strings.TrimSpace(os.Getenv("ELSTORE_TOKEN")); text != "" {
			return text, checkToken(text, "ELSTORE_TOKEN")
		}
		if path = os.Getenv("ELSTORE_TOKEN_FILE"); path == "" {
			return "", nil
		}
	}
	f, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return "", usagef("the token can't be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", usagef("the token can't be read: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(data) > maxSecretFile {
		return "", usagef("%s has no token, which is one word", path)
	}
	return text, checkToken(text, path)
}

// checkToken refuses what can't be one, without showing it.
func checkToken(text, from string) error {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("%s has no token, which is one word", from)
	}
	return nil
}

// identify adds to cfg what a server may want to see, and whom to believe that it is the server.
func (c *cli) identify(cfg *client.Config) (err error) {
	if cfg.Token, err = c.token(); err != nil {
		return err
	}
	path := orEnv(c.ca, "ELSTORE_CA")
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err != nil {
		return usagef("the authority's certificate can't be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return &usageError{fmt.Errorf("%s has no certificate in PEM", path)}
	}
	cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return nil
}

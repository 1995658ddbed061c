package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"elstore/export/iscsi"
	"elstore/export/iscsi/login"
)

const (
	// minSecret is how many bytes a secret has at least that others could try to guess who heard a login, RFC 7143
	// section 9.2.1: 96 bits.
	minSecret = 12
	// maxCHAPName is the most bytes of a CHAP name, RFC 7143 section 12.1.3.
	maxCHAPName = 255
	// maxCHAPFile is the largest file of secrets that is read, in bytes.
	maxCHAPFile = 4096
)

// credentials are what the sides of a login prove to know. The zero value asks for no CHAP.
type credentials struct {
	user, mutualName     string
	secret, mutualSecret login.Secret
}

// credentials reads the flags, or the file that one of them names.
func (o *targetOptions) credentials() (credentials, error) {
	user, mutual, from, mutualFrom := o.chap, o.mutual, "--chap", "--mutual-chap"
	if o.chapFile != "" {
		lines, err := readSecrets(o.chapFile)
		if err != nil {
			return credentials{}, fmt.Errorf("--chap-file: %w", err)
		}
		user, from = lines[0], o.chapFile+": line 1"
		if len(lines) == 2 {
			mutual, mutualFrom = lines[1], o.chapFile+": line 2"
		}
	}
	if user == "" {
		return credentials{}, nil
	}
	var c credentials
	var err error
	if c.user, c.secret, err = parseCHAP(from, user); err != nil || mutual == "" {
		return c, err
	}
	if c.mutualName, c.mutualSecret, err = parseCHAP(mutualFrom, mutual); err != nil {
		return c, err
	}
	if c.mutualSecret.Equal(c.secret) {
		return c, usagef("the secrets of both sides are the same, so that an initiator could be made to prove ours; they must differ")
	}
	return c, nil
}

// parseCHAP parts a name from a secret. Pure. No error shows the value.
func parseCHAP(from, value string) (string, login.Secret, error) {
	name, secret, ok := strings.Cut(value, ":")
	switch {
	case !ok || name == "" || secret == "":
		return "", login.Secret{}, usagef("%s is not a name, a colon and a secret", from)
	case len(name) > maxCHAPName:
		return "", login.Secret{}, usagef("%s: the name has %d bytes; it may have %d", from, len(name), maxCHAPName)
	}
	return name, login.NewSecret(secret), nil
}

// readSecrets returns the one or two lines of a file that not everybody may read.
func readSecrets(path string) ([]string, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody on this machine may read %s; `chmod 600` keeps the secrets", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCHAPFile+1))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(string(data), "\r\n"), "\r\n", "\n"), "\n")
	if len(data) > maxCHAPFile || len(lines) > 2 || lines[0] == "" {
		return nil, fmt.Errorf("%s is not one or two lines of a name, a colon and a secret", path)
	}
	return lines, nil
}

// errNoCHAP is of a target that anybody could reach.
var errNoCHAP = errors.New("it can be reached from other machines, and who reaches it could read and write the disk: " +
	"ask for CHAP with --chap-file or --chap, or listen on a loopback address such as 127.0.0.1:3260")

// fit checks that the credentials are enough for the addresses, of which others than this machine can reach one.
func (c *credentials) fit(public bool) error {
	if !public {
		return nil
	}
	if c.secret.IsZero() {
		return errNoCHAP
	}
	for _, s := range []login.Secret{c.secret, c.mutualSecret} {
		if n := len(s.Reveal()); n > 0 && n < minSecret {
			return usagef("a CHAP secret of %d bytes can be guessed by who hears a login: where other machines reach the target it must have %d or more", n, minSecret)
		}
	}
	return nil
}

// attachment is what lets initiators in that prove the credentials. It is not ReadOnly where the disk is: that forbids
// reservations and resets too.
func (c *credentials) attachment() iscsi.AttachmentConfig {
	return iscsi.AttachmentConfig{
		CHAPName: c.user, Secret: c.secret, MutualName: c.mutualName, MutualSecret: c.mutualSecret,
		Shared: true,
	}
}

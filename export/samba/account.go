package samba

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// account is one of the machine's, which smbd wants for each of its users.
type account struct {
	name string
	uid  uint32
	mark string // its comment
}

// parseAccounts reads passwd(5). Pure.
func parseAccounts(passwd []byte) (list []account) {
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) < 5 {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		list = append(list, account{f[0], uint32(uid), f[4]})
	}
	return list
}

func accounts() ([]account, error) {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, fmt.Errorf("the machine's accounts: %w", err)
	}
	return parseAccounts(data), nil
}

// pickUID returns the user id that a name has: always the same, unless that is another's. Pure.
func pickUID(name string, taken func(uint32) bool) uint32 {
	sum := sha256.Sum256([]byte(name))
	n := binary.BigEndian.Uint32(sum[:]) % maxSystemUsers
	for taken(firstSystemUID + n) {
		n = (n + 1) % maxSystemUsers
	}
	return firstSystemUID + n
}

// addAccount makes the account of a share's user, if it is not there. It can't be logged in with: it has neither a password nor a
// shell, and no home. That of somebody else is refused.
func (y *System) addAccount(ctx context.Context, s share) error {
	all, err := accounts()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.name != s.name {
			continue
		}
		if a.mark != y.Mark || a.uid != s.uid {
			return fmt.Errorf("the machine has an account %s that is not this server's", s.name)
		}
		return nil
	}
	return y.account(ctx, "useradd", "--system", "--no-log-init", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin",
		"--uid", strconv.FormatUint(uint64(s.uid), 10), "--no-user-group", "--gid", "65534", "--comment", y.Mark, s.name)
}

// removeAccount removes an account of ours. A process of smbd may be at work in its name.
func (y *System) removeAccount(ctx context.Context, name string) error {
	all, err := accounts()
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.name == name && a.mark == y.Mark {
			return y.account(ctx, "userdel", "--force", name)
		}
	}
	return nil
}

// account runs a program that changes the accounts. It waits by itself for others that are at it.
func (y *System) account(ctx context.Context, name string, args ...string) error {
	if out, err := y.tool(ctx, name, args...); err != nil {
		return fmt.Errorf("the machine's accounts not changed: %s: %w: %s", name, err, out)
	}
	return nil
}

package samba

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// system is the machine's smbd with our shares.
type system struct {
	*System
	account string // of guests
	nobody  uint32 // its user id
	ledger  ledger

	mu   sync.Mutex
	uids map[uint32]string // of all users that there were

	users map[string][16]byte // those of smbd, and the hashes of their passwords; of change alone
}

var _ server = (*system)(nil)

func newSystem(y *System, f facts) *system {
	d := &system{System: y, account: f.guest, uids: map[uint32]string{}, users: map[string][16]byte{}}
	if all, err := accounts(); err == nil {
		for _, a := range all {
			if a.name == f.guest {
				d.nobody = a.uid
			}
		}
	}
	d.ledger.init(d.change)
	return d
}

// uid implements server.
func (d *system) uid(name string) (uint32, error) {
	all, err := accounts()
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	uid := pickUID(name, func(n uint32) bool {
		had, ok := d.uids[n]
		return ok && had != name || slices.ContainsFunc(all, func(a account) bool { return a.uid == n && a.name != name })
	})
	d.uids[uid] = name
	return uid, nil
}

// guest implements server.
func (d *system) guest() uint32 { return d.nobody }

// put implements server.
func (d *system) put(ctx context.Context, s share) error { return d.ledger.add(ctx, s) }

// drop implements server.
func (d *system) drop(ctx context.Context, name string) error {
	if err := d.ledger.remove(ctx, name); err != nil {
		return err
	}
	return d.cut(ctx, name)
}

// cut implements server.
func (d *system) cut(ctx context.Context, name string) error { return d.closeShare(ctx, name) }

// close implements server.
func (d *system) close(ctx context.Context) error {
	if err := d.sweep(context.WithoutCancel(ctx)); err != nil { // which has deadlines of its own
		return err
	}
	return errors.Join(os.Remove(d.volumes()), os.Remove(d.Dir))
}

// closeShare has smbd close what is open of a share. One that doesn't run has nothing open.
func (y *System) closeShare(ctx context.Context, name string) error {
	out, err := y.tool(ctx, "smbcontrol", "-s", y.Conf, "smbd", "close-share", name)
	if err != nil && !strings.Contains(out, "find pid") {
		return fmt.Errorf("share not closed: %w: %s", err, out)
	}
	return nil
}

// change makes smbd have the users of all, and the shares otherwise than they are: an account and a user come before their share, and
// go after it.
func (d *system) change(ctx context.Context, all, come []share, gone []string) error {
	gone, err := d.spareOthers(ctx, come, gone)
	if err != nil {
		return err
	}
	var fresh []share
	stay := map[string]bool{}
	for _, s := range all {
		stay[s.name] = true
		if had, ok := d.users[s.name]; !ok || had != s.hash {
			fresh = append(fresh, s)
		}
	}
	for _, s := range fresh {
		if err := d.addAccount(ctx, s); err != nil {
			return err
		}
	}
	if err := d.setPasswords(ctx, fresh); err != nil {
		return err
	}
	for _, s := range fresh {
		d.users[s.name] = s.hash
	}
	if err := d.register(ctx, come, gone, d.account); err != nil {
		return err
	}
	for name := range d.users {
		if stay[name] {
			continue
		}
		if err := d.removeUser(ctx, name); err != nil {
			return err
		}
		delete(d.users, name)
	}
	return nil
}

// spareOthers refuses shares that smbd has of others, and returns those of gone that it has of ours.
func (y *System) spareOthers(ctx context.Context, come []share, gone []string) (ours []string, err error) {
	if len(come)+len(gone) == 0 {
		return nil, nil
	}
	there, err := y.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range there {
		switch {
		case s.settings["comment"] != y.Mark:
			if slices.ContainsFunc(come, func(c share) bool { return strings.EqualFold(c.name, s.name) }) {
				return nil, fmt.Errorf("the machine's smbd has a share %s that is not this server's", s.name)
			}
		case slices.Contains(gone, s.name):
			ours = append(ours, s.name)
		}
	}
	return ours, nil
}

// list returns the shares of the registry.
func (y *System) list(ctx context.Context) ([]section, error) {
	out, err := y.tool(ctx, "net", "-s", y.Conf, "conf", "list")
	if err != nil {
		return nil, fmt.Errorf("shares not listed: %w: %s", err, out)
	}
	return parseSections([]byte(out)), nil
}

// register changes the registry. guest is the account of guests, for shares that come.
func (y *System) register(ctx context.Context, come []share, gone []string, guest string) error {
	if len(come)+len(gone) == 0 {
		return nil
	}
	values := func(s share) []setting { return y.values(s, guest) }
	return y.withFile(registryConf(come, gone, values), func(path string) error {
		if out, err := y.tool(ctx, "net", "-s", y.Conf, "registry", "import", path); err != nil {
			return fmt.Errorf("shares not changed: %w: %s", err, out)
		}
		return nil
	})
}

// setPasswords makes smbd have users, with their passwords.
func (d *system) setPasswords(ctx context.Context, users []share) error {
	if len(users) == 0 {
		return nil
	}
	return d.withFile(smbpasswdConf(users), func(path string) error {
		// What it can't take it says, and ends well.
		out, err := d.tool(ctx, "pdbedit", "-s", d.Conf, "-i", "smbpasswd:"+path)
		if done := strings.Count(out, "...ok"); err != nil || done != len(users) {
			return fmt.Errorf("the users of shares not set, but for %d of %d: %w: %s", done, len(users), cmp.Or(err, errSilent), out)
		}
		return nil
	})
}

// withFile has do read a file, which is gone when it returns: nobody is told secrets by the arguments of a program.
func (y *System) withFile(data []byte, do func(path string) error) error {
	f, err := os.CreateTemp(y.Dir, tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is swept up otherwise
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return do(f.Name())
}

const tempPrefix = "change-"

var errSilent = errors.New("pdbedit ended well")

// removeUser removes a user of ours from smbd, and its account.
func (y *System) removeUser(ctx context.Context, name string) error {
	out, err := y.tool(ctx, "pdbedit", "-s", y.Conf, "-x", "-u", name)
	if err != nil && !strings.Contains(out, "does not exist") {
		return fmt.Errorf("the user of a share not removed: %w: %s", err, out)
	}
	return y.removeAccount(ctx, name)
}

// sweep removes all shares, users and mounts of ours: what is to be is made anew.
func (y *System) sweep(ctx context.Context) error {
	there, err := y.list(ctx)
	if err != nil {
		return err
	}
	var gone []string
	for _, s := range there {
		if s.settings["comment"] == y.Mark {
			gone = append(gone, s.name)
		}
	}
	if len(gone) > 0 {
		if err := os.MkdirAll(y.Dir, 0o711); err != nil { //nolint:gosec // smbd's users go through it
			return err
		}
	}
	var errs []error
	errs = append(errs, y.register(ctx, nil, gone, ""))
	for _, name := range gone {
		errs = append(errs, y.closeShare(ctx, name))
	}
	all, err := accounts()
	errs = append(errs, err)
	for _, a := range all {
		if a.mark == y.Mark {
			errs = append(errs, y.removeUser(ctx, a.name))
		}
	}
	errs = append(errs, y.unmount())
	left, err := filepath.Glob(filepath.Join(y.Dir, tempPrefix+"*"))
	for _, path := range left {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(append(errs, err)...)
}

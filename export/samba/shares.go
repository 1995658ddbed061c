package samba

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// put makes a share, or replaces its user's password. It stands when nil is returned. Several at once cost little more than one.
func (d *smbd) put(ctx context.Context, s share) error {
	// First smbd, which makes its registry as it starts, and must not be disturbed.
	if err := d.wait(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	old, there := d.shares[s.name]
	d.shares[s.name] = s
	if !there || old.readonly != s.readonly || old.guests != s.guests {
		d.pending[s.name] = true
	}
	d.version++
	version := d.version
	d.mu.Unlock()
	return d.apply(ctx, version)
}

// drop removes a share and its user, and closes it for those who use it.
func (d *smbd) drop(ctx context.Context, name string) error {
	d.mu.Lock()
	delete(d.shares, name)
	d.pending[name] = true
	d.version++
	version := d.version
	d.mu.Unlock()
	if err := d.apply(ctx, version); err != nil {
		return err
	}
	return d.cut(ctx, name)
}

// cut ends the connections to a share. Those who may come back do so by themselves.
func (d *smbd) cut(ctx context.Context, name string) error {
	d.mu.Lock()
	up := d.up
	d.mu.Unlock()
	if !up {
		return nil // nobody is in
	}
	if out, err := d.tool(ctx, "smbcontrol", "-s", confPath, "smbd", "close-share", name); err != nil {
		return fmt.Errorf("share not closed: %w: %s", err, out)
	}
	return nil
}

// apply makes smbd's files what its shares are, unless another call did so for this version: one call does it for all
// that waited.
func (d *smbd) apply(ctx context.Context, version uint64) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.mu.Lock()
	if d.applied >= version {
		d.mu.Unlock()
		return nil
	}
	version = d.version
	var all, come []share
	var gone []string
	for _, s := range d.shares {
		all = append(all, s)
	}
	for name := range d.pending {
		if s, there := d.shares[name]; there {
			come = append(come, s)
		} else {
			gone = append(gone, name)
		}
	}
	clear(d.pending)
	d.mu.Unlock()
	err := d.change(ctx, all, come, gone)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.applied = version
	} else {
		for _, s := range come {
			d.pending[s.name] = true
		}
		for _, name := range gone {
			d.pending[name] = true
		}
	}
	return err
}

// change makes smbd's users what all has, and changes the registry.
func (d *smbd) change(ctx context.Context, all, come []share, gone []string) error {
	slices.SortFunc(all, func(a, b share) int { return cmp.Compare(a.uid, b.uid) })
	for _, f := range []struct {
		path string
		data []byte
	}{
		{"/etc/group", groupConf(all)},
		{"/etc/passwd", passwdConf(all)},
		{sambaDir + "/private/smbpasswd", smbpasswdConf(all)},
		{changePath, registryConf(come, gone)},
	} {
		if err := d.cell.write(f.path, f.data); err != nil {
			return err
		}
	}
	if len(come)+len(gone) == 0 {
		return nil
	}
	out, err := d.tool(ctx, "net", "-s", confPath, "registry", "import", changePath)
	if err != nil {
		return fmt.Errorf("shares not changed: %w: %s", err, out)
	}
	return nil
}

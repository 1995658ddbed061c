package samba

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// put implements server.
func (d *smbd) put(ctx context.Context, s share) error {
	// First smbd, which makes its registry as it starts, and must not be disturbed.
	if err := d.wait(ctx); err != nil {
		return err
	}
	return d.ledger.add(ctx, s)
}

// drop implements server.
func (d *smbd) drop(ctx context.Context, name string) error {
	if err := d.ledger.remove(ctx, name); err != nil {
		return err
	}
	return d.cut(ctx, name)
}

// cut implements server.
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

// rewrite makes smbd's users what all has, and changes the registry.
func (d *smbd) rewrite(ctx context.Context, all, come []share, gone []string) error {
	slices.SortFunc(all, func(a, b share) int { return cmp.Compare(a.uid, b.uid) })
	for _, f := range []struct {
		path string
		data []byte
	}{
		{"/etc/group", groupConf(all)},
		{"/etc/passwd", passwdConf(all)},
		{sambaDir + "/private/smbpasswd", smbpasswdConf(all)},
		{changePath, registryConf(come, gone, ownValues)},
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

// uid implements server: one that nobody ever had here.
func (d *smbd) uid(string) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lastUID == firstUID+maxUsers-1 {
		return 0, fmt.Errorf("all %d users of smbd were used; a restart of the server brings new ones", maxUsers-1)
	}
	d.lastUID++
	return d.lastUID, nil
}

// guest implements server.
func (d *smbd) guest() uint32 { return firstUID }

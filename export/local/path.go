package local

import (
	"context"
	"encoding/json"
	"fmt"

	"elstore/export"
	"elstore/export/nbd/session"
	"elstore/volume"
	"elstore/volume/fault"
)

// lent is an attachment to the image's own path: nothing of it passes through this server.
type lent struct {
	unit  *unit
	rec   export.Record
	image export.Image
}

var _ export.Attached = (*lent)(nil)

// lend makes an attachment to the path. The claim is for that, and has the volume alone.
func (u *unit) lend(r export.Record) (export.Attached, error) {
	image, ok := u.Medium.Device.(export.Image)
	if !ok || image.Path() == "" {
		return nil, fault.Errorf(fault.BadRequest, "volume %s has no image with a path", u.Medium.Volume.ID)
	}
	return &lent{u, r, image}, nil
}

// Access implements export.Attached.
func (l *lent) Access(*export.Request) export.Access {
	m := &l.unit.Medium
	type file struct {
		Driver string `json:"driver"`
		Path   string `json:"filename"`
	}
	format := "raw"
	if m.Volume.Meta.Format == volume.QCOW2 {
		format = "qcow2"
	}
	blockdev, err := json.Marshal(struct {
		Driver   string `json:"driver"`
		Node     string `json:"node-name"`
		ReadOnly bool   `json:"read-only"`
		Discard  string `json:"discard"`
		File     file   `json:"file"`
	}{format, "volume-" + m.Volume.ID.String()[:16], l.rec.ReadOnly, "unmap", file{"file", l.image.Path()}})
	if err != nil {
		panic("local: an answer can't be encoded: " + err.Error()) // no field of it can fail
	}
	return export.Access{
		URI: l.image.Path(), Path: l.image.Path(), Blockdev: blockdev,
		Libvirt: &export.Libvirt{Disk: session.FileDisk(m, format, l.image.Path(), l.rec.ReadOnly)},
	}
}

// Renew implements export.Attached: there is nothing that could be renewed.
func (l *lent) Renew(export.Record, export.Rates) error { return nil }

// Sessions implements export.Attached. Somebody has the image open, and nobody can say who.
func (l *lent) Sessions() []export.Session {
	if !fault.Is(l.image.Idle(), fault.ExportBusy) {
		return []export.Session{}
	}
	return []export.Session{{Initiator: "a process of this machine", Remote: l.image.Path(), Since: l.rec.Since}}
}

// Counts implements export.Attached.
func (l *lent) Counts() export.Counts { return export.Counts{} }

// Detach implements export.Attached. The attachment is to be let in again, and its client goes on meanwhile: its Book keeps everybody
// else out.
func (l *lent) Detach(context.Context) error { return nil }

// Remove implements export.Attached. An image that is open can't be taken back: this is proven when it is closed.
func (l *lent) Remove(context.Context) error {
	if err := l.image.Idle(); err != nil {
		return fmt.Errorf("take back the image's path: %w", err)
	}
	return nil
}

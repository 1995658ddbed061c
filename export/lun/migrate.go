package lun

import (
	"context"
	"fmt"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/scsi"
)

var _ export.Successor = (*attached)(nil)

// Succeed implements export.Successor: registrations and the reservation of old go to the initiator ports that are logged in
// through a. What they have no room for ends when old is fenced.
func (a *attached) Succeed(ctx context.Context, old export.Attached) error {
	from, ok := old.(*attached)
	if !ok || from.unit != a.unit {
		return fmt.Errorf("an attachment of another unit can't be succeeded")
	}
	u, port := a.unit, iscsi.PortName(from.target.Name())
	u.mu.Lock()
	alone := len(from.target.attached) == 1
	u.mu.Unlock()
	return u.lu.MoveRegistrations(ctx, func(r scsi.Registration) bool {
		if r.Port != port {
			return false
		}
		owner, known := u.owner(r)
		return known && owner == from.id || !known && alone
	}, a.Nexuses()...)
}

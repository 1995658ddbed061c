package lun

import (
	"context"
	"fmt"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/scsi"
	"elstore/volume"
)

var (
	_ export.Mover     = (*Kind)(nil)
	_ export.Returner  = (*Kind)(nil)
	_ export.Successor = (*attached)(nil)
	_ export.Inheritor = (*attached)(nil)
)

// KeepsToGates implements export.Mover: the server asks before each command that changes the medium.
func (k *Kind) KeepsToGates() {}

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

// Inherit implements export.Inheritor: what the volume's record has of the other server's reservations is this unit's from now on, and what
// from has registered is that of the initiator ports that are logged in through a. The other host may not have lost power, so that what
// doesn't outlive this is kept too.
func (a *attached) Inherit(ctx context.Context, from volume.ID) error {
	u := a.unit
	data, err := u.kept.records.Load(recordName, maxRecord)
	if err != nil || data == nil {
		return err
	}
	s, err := parseSaved(data)
	if err != nil || s.Reservations == nil {
		return err
	}
	u.ports.Lock()
	for _, o := range s.Owners {
		if at := (nexus{o.Initiator, o.Port}); u.owners[at].IsZero() {
			u.owners[at] = o.Attachment
		}
	}
	u.ports.Unlock()
	s.lend(from, a.id)
	u.kept.lend(s.Lent)
	if err := u.lu.Replace(ctx, s.Reservations); err != nil {
		return fmt.Errorf("take over the reservations: %w", err)
	}
	return u.lu.MoveRegistrations(ctx, func(r scsi.Registration) bool {
		owner, known := u.owner(r)
		return known && owner == from
	}, a.Nexuses()...)
}

// Return implements export.Returner: registrations and the reservation go to the initiator ports that Inherit took them from. What these
// have no room for ends with its attachment.
func (k *Kind) Return(records *export.Store, from, to volume.ID) error {
	data, err := records.Load(recordName, maxRecord)
	if err != nil || data == nil {
		return err
	}
	s, err := parseSaved(data)
	if err != nil || !s.giveBack(from, to) {
		return nil //nolint:nilerr // whoever serves the volume next says what is wrong with its record
	}
	return s.save(records)
}

package lun

import (
	"context"
	"encoding/json"
	"fmt"

	"elstore/export"
	"elstore/export/scsi"
	"elstore/volume"
)

// recordName is the file of the reservations in the volume's export records.
const recordName = "iscsi"

// maxRecord is the largest record that is read, in bytes: 1024 registrations with the longest names have less.
const maxRecord = 2 << 20

// saved is the record.
type saved struct {
	BootID       string             `json:"boot_id"` // of the host when it was written
	Reservations *scsi.Reservations `json:"reservations"`
	Owners       []owned            `json:"owners"` // of the registrations
}

// owned says which attachment a registration came through.
type owned struct {
	Initiator  string    `json:"initiator"`
	Port       string    `json:"port"`
	Attachment volume.ID `json:"attachment"`
}

// reservations keeps a volume's persistent reservations in its export records.
type reservations struct {
	records *export.Store
	bootID  string
	owner   func(scsi.Registration) (volume.ID, bool)
	loaded  []owned
}

var _ scsi.ReservationStore = (*reservations)(nil)

// Load implements scsi.ReservationStore: what does not persist through power loss ends with the host's boot.
func (k *reservations) Load(context.Context) (*scsi.Reservations, error) {
	data, err := k.records.Load(recordName, maxRecord)
	if err != nil || data == nil {
		return nil, err
	}
	s, err := parseSaved(data)
	if err != nil {
		return nil, err
	}
	if s.Reservations == nil || !s.Reservations.APTPL && s.BootID != k.bootID {
		return nil, nil //nolint:nilnil // as the interface has it
	}
	k.loaded = s.Owners
	return s.Reservations, nil
}

// parseSaved reads the record. Pure; scsi checks the reservations themselves.
func parseSaved(data []byte) (saved, error) {
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("the record of the volume's reservations can't be read: %w", err)
	}
	return s, nil
}

// Save implements scsi.ReservationStore.
func (k *reservations) Save(_ context.Context, r *scsi.Reservations) error {
	s := saved{BootID: k.bootID, Reservations: r, Owners: []owned{}}
	for _, g := range r.Registrations {
		if id, ok := k.owner(g); ok {
			s.Owners = append(s.Owners, owned{g.Initiator, g.Port, id})
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return k.records.Save(recordName, append(data, '\n'))
}

// forget removes the record.
func (k *reservations) forget() error { return k.records.Remove(recordName) }

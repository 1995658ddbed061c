package lun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

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
	Lent         *lent              `json:"lent,omitempty"`
}

// lent says where registrations were that another server's client has now: they go back there if the volume does.
type lent struct {
	BootIDs []string  `json:"boot_ids"` // of the hosts that gave the volume away
	From    volume.ID `json:"from"`     // the attachments
	To      volume.ID `json:"to"`
	Ports   []port    `json:"ports"` // of the registrations, the holder's of the reservation first
}

// maxHosts bounds lent.BootIDs: of hosts that start again and again the last ones count.
const maxHosts = 8

// port is a nexus with the target port's number.
type port struct {
	Initiator string `json:"initiator"`
	Port      string `json:"port"`
	PortID    uint16 `json:"port_id"`
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

	mu   sync.Mutex
	lent *lent
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
	home := s.Lent != nil && slices.Contains(s.Lent.BootIDs, k.bootID) // it was away meanwhile, at a host that has not lost power
	if s.Reservations == nil || !s.Reservations.APTPL && s.BootID != k.bootID && !home {
		return nil, nil //nolint:nilnil // as the interface has it
	}
	k.loaded = s.Owners
	k.lend(s.Lent)
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
	k.mu.Lock()
	s := saved{BootID: k.bootID, Reservations: r, Owners: []owned{}, Lent: k.lent}
	k.mu.Unlock()
	for _, g := range r.Registrations {
		if id, ok := k.owner(g); ok {
			s.Owners = append(s.Owners, owned{g.Initiator, g.Port, id})
		}
	}
	return s.save(k.records)
}

// lend makes l what is saved with the reservations.
func (k *reservations) lend(l *lent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lent = l
}

func (s *saved) save(to *export.Store) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return to.Save(recordName, append(data, '\n'))
}

// lend notes where the registrations of an attachment are before they become another one's. What was noted of that before counts: then some
// were moved already.
func (s *saved) lend(from, to volume.ID) {
	if s.Lent != nil && s.Lent.From == from && s.Lent.To == to {
		return
	}
	hosts := []string{s.BootID}
	if s.Lent != nil { // nothing was saved since it came back: it may be of either host
		hosts = append(hosts, slices.DeleteFunc(slices.Clone(s.Lent.BootIDs), func(b string) bool { return b == s.BootID })...)
	}
	s.Lent = &lent{BootIDs: hosts[:min(len(hosts), maxHosts)], From: from, To: to}
	for _, i := range s.of(from) {
		g := s.Reservations.Registrations[i]
		s.Lent.Ports = append(s.Lent.Ports, port{g.Initiator, g.Port, g.PortID})
	}
}

// giveBack makes what to has registered from's again, as far as that has ports whose registrations were lent. It reports whether there was
// any.
func (s *saved) giveBack(from, to volume.ID) bool {
	r := s.Reservations
	if r == nil || s.Lent == nil || s.Lent.From != from || s.Lent.To != to {
		return false
	}
	free := slices.DeleteFunc(slices.Clone(s.Lent.Ports), func(p port) bool {
		return slices.ContainsFunc(r.Registrations, func(g scsi.Registration) bool { return p.Initiator == g.Initiator && p.Port == g.Port })
	})
	list := s.of(to)
	for n, i := range list[:min(len(list), len(free))] {
		g, p := &r.Registrations[i], free[n]
		holds := s.holds(*g)
		s.Owners = slices.DeleteFunc(s.Owners, func(o owned) bool { return o.Initiator == g.Initiator && o.Port == g.Port })
		g.Initiator, g.Port, g.PortID = p.Initiator, p.Port, p.PortID
		s.Owners = append(s.Owners, owned{p.Initiator, p.Port, from})
		if holds {
			holder := *g
			r.Holder = &holder
		}
		r.Generation++
	}
	return len(list) > 0
}

// of returns the indices of an attachment's registrations, the holder's of the reservation first.
func (s *saved) of(id volume.ID) (list []int) {
	for i, g := range s.Reservations.Registrations {
		switch {
		case !s.owns(id, g):
		case s.holds(g):
			list = slices.Insert(list, 0, i)
		default:
			list = append(list, i)
		}
	}
	return list
}

// owns reports whether a registration came through an attachment.
func (s *saved) owns(id volume.ID, g scsi.Registration) bool {
	return slices.Contains(s.Owners, owned{g.Initiator, g.Port, id})
}

// holds reports whether the reservation is a registration's.
func (s *saved) holds(g scsi.Registration) bool {
	h := s.Reservations.Holder
	return h != nil && h.Initiator == g.Initiator && h.Port == g.Port
}

// forget removes the record.
func (k *reservations) forget() error { return k.records.Remove(recordName) }

package scsi

import (
	"context"
	"fmt"
	"slices"
)

// ReservationType is a persistent reservation's type, SPC-4 table 213. Zero is no reservation.
type ReservationType uint8

// Types of persistent reservations.
const (
	WriteExclusive                 ReservationType = 1
	ExclusiveAccess                ReservationType = 3
	WriteExclusiveRegistrantsOnly  ReservationType = 5
	ExclusiveAccessRegistrantsOnly ReservationType = 6
	WriteExclusiveAllRegistrants   ReservationType = 7
	ExclusiveAccessAllRegistrants  ReservationType = 8
)

func (t ReservationType) valid() bool {
	switch t {
	case WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly,
		WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants:
		return true
	}
	return false
}

// forRegistrants reports whether every registered nexus may do what the holder may.
func (t ReservationType) forRegistrants() bool { return t >= WriteExclusiveRegistrantsOnly }

// allRegistrants reports whether every registered nexus holds the reservation.
func (t ReservationType) allRegistrants() bool { return t >= WriteExclusiveAllRegistrants }

// exclusive reports whether reading is for the holder, or for registrants, too.
func (t ReservationType) exclusive() bool {
	return t == ExclusiveAccess || t == ExclusiveAccessRegistrantsOnly || t == ExclusiveAccessAllRegistrants
}

// Registration is the registration of an I_T nexus for persistent reservations.
type Registration struct {
	Initiator string `json:"initiator"` // SCSI initiator port name
	Port      string `json:"port"`      // SCSI target port name
	PortID    uint16 `json:"port_id"`   // its relative target port identifier
	Key       uint64 `json:"key"`       // reservation key
}

func (r *Registration) nexus() nexusKey { return nexusKey{r.Initiator, r.Port} }

// Reservations is the whole state of a unit's persistent reservations.
type Reservations struct {
	Generation    uint32          `json:"generation"` // PRGENERATION
	APTPL         bool            `json:"aptpl"`      // outlives a loss of power
	Registrations []Registration  `json:"registrations"`
	Type          ReservationType `json:"type"` // 0: there is no reservation
	// Holder is the registration that holds the reservation, unless all do.
	Holder *Registration `json:"holder,omitempty"`
}

// ReservationStore keeps the persistent reservations of a unit where a crash doesn't reach them.
type ReservationStore interface {
	// Load returns what was saved last, or nil where that is nothing or is to be forgotten: what was saved
	// without APTPL lasts until the host loses power.
	Load(ctx context.Context) (*Reservations, error)
	// Save replaces what is kept. It returns once that is on stable storage, or changes nothing and fails.
	Save(ctx context.Context, r *Reservations) error
}

// check tells what is wrong with reservations that were loaded.
func (r *Reservations) check() error {
	if r.Type != 0 && !r.Type.valid() {
		return fmt.Errorf("saved reservations have the type %d, which is none of SPC-4's", r.Type)
	}
	if r.Type != 0 && !r.Type.allRegistrants() && (r.Holder == nil || r.find(r.Holder.nexus()) < 0) {
		return fmt.Errorf("saved reservations of type %d have no holder that is registered", r.Type)
	}
	if r.Type.allRegistrants() && len(r.Registrations) == 0 {
		return fmt.Errorf("saved reservations of type %d have no registrations", r.Type)
	}
	return nil
}

// clone returns a copy that can be changed.
func (r *Reservations) clone() *Reservations {
	c := *r
	c.Registrations = slices.Clone(r.Registrations)
	if r.Holder != nil {
		holder := *r.Holder
		c.Holder = &holder
	}
	return &c
}

// find returns the index of a nexus' registration, or -1.
func (r *Reservations) find(n nexusKey) int {
	return slices.IndexFunc(r.Registrations, func(g Registration) bool { return g.nexus() == n })
}

// holds reports whether the reservation is held by the nexus, which is registered.
func (r *Reservations) holds(n nexusKey) bool {
	return r.Type.allRegistrants() || r.Type != 0 && r.Holder.nexus() == n
}

// denial returns what the reservation forbids a nexus.
func (r *Reservations) denial(n nexusKey) denial {
	if r.Type == 0 {
		return 0
	}
	if r.find(n) >= 0 && (r.Type.forRegistrants() || r.holds(n)) {
		return 0
	}
	if r.Type.exclusive() {
		return denyReads | denyWrites
	}
	return denyWrites
}

// deny lets a nexus feel the reservations of the others. lu.mu is held.
func (lu *LogicalUnit) deny(n *Nexus) {
	d := lu.registry.denial(n.key)
	if lu.reserver != nil && lu.reserver != n {
		d |= denyLegacy
	}
	n.denied.Store(uint32(d))
}

func (lu *LogicalUnit) denyAll() {
	for _, n := range lu.nexuses {
		lu.deny(n)
	}
}

// Reservations returns the persistent reservations as they are.
func (lu *LogicalUnit) Reservations() *Reservations {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	return lu.registry.clone()
}

package livemigration

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"elstore/volume"
)

// Party is one side as the caller named it.
type Party struct {
	Client    volume.Client `json:"client_uid"`
	Initiator string        `json:"initiator,omitempty"` // the only one that may log in; "" is any
	Host      string        `json:"host,omitempty"`      // for people
}

// Part is one volume of the set, with the ids of both attachments.
type Part struct {
	Volume      volume.ID `json:"volume_id"`
	Source      volume.ID `json:"source"`
	Destination volume.ID `json:"destination"`
}

// of returns a side's attachment.
func (p *Part) of(s Side) volume.ID {
	if s == Source {
		return p.Source
	}
	return p.Destination
}

// Record is a migration as the journal keeps it. It has no secrets. A value: nobody changes one in place.
type Record struct {
	ID volume.ID `json:"migration_id"`
	Status
	Source      Party     `json:"source"`
	Destination Party     `json:"destination"`
	Parts       []Part    `json:"volumes"`
	Began       time.Time `json:"began"`
	Deadline    time.Time `json:"deadline"`       // of being prepared
	Ended       time.Time `json:"ended,omitzero"` // when it became stable
	LoggedIn    bool      `json:"logged_in"`      // the destination did so at least once
	Resolved    bool      `json:"resolved"`       // by an operator: the side that stays may be gone
	Alarm       string    `json:"alarm,omitempty"`

	// Of a migration between two servers: the side that attaches through this one, and the other server's id, and host for people.
	Here     Side   `json:"here,omitempty"`
	Peer     string `json:"peer,omitempty"`
	PeerHost string `json:"peer_host,omitempty"`
}

// between reports whether the sides attach through two servers.
func (r *Record) between() bool { return r.Here != "" }

// Volumes returns the ids of the set, in their order.
func (r *Record) Volumes() []volume.ID {
	ids := make([]volume.ID, len(r.Parts))
	for i, p := range r.Parts {
		ids[i] = p.Volume
	}
	return ids
}

// part returns the volume that an attachment is to, and the side that it is of; nil where it is none of the migration's.
func (r *Record) part(attachment volume.ID) (*Part, Side) {
	for i := range r.Parts {
		switch p := &r.Parts[i]; attachment {
		case p.Source:
			return p, Source
		case p.Destination:
			return p, Destination
		}
	}
	return nil, ""
}

// has reports whether the set has a volume.
func (r *Record) has(id volume.ID) bool {
	return slices.ContainsFunc(r.Parts, func(p Part) bool { return p.Volume == id })
}

// TakesPart reports whether one of the sides is client's. Everybody's, a nil client's, is every side.
func (r *Record) TakesPart(client volume.Who) bool {
	return client == nil || r.Source.Client == *client || r.Destination.Client == *client
}

// maxVolumes bounds a set.
const maxVolumes = 256

// maxRecord is the largest file of the journal that is read, in bytes.
const maxRecord = 256 << 10

// saved is a Record in its file.
type saved struct {
	Version int `json:"version"`
	Record
}

// savedVersion is that of a migration within one server, savedBetween that of one between two. This program writes and reads both.
const (
	savedVersion = 1
	savedBetween = 2
)

// encode is what the journal's file has.
func (r *Record) encode() []byte {
	version := savedVersion
	if r.between() {
		version = savedBetween
	}
	data, err := json.Marshal(saved{version, *r})
	if err != nil {
		panic("livemigration: a record can't be encoded: " + err.Error()) // no field of it can fail
	}
	return append(data, '\n')
}

// parseRecord reads what encode wrote. Pure.
func parseRecord(data []byte) (Record, error) {
	var in saved
	if len(data) > maxRecord {
		return Record{}, fmt.Errorf("it has over %d bytes", maxRecord)
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return Record{}, fmt.Errorf("it is not the JSON of a migration: %w", err)
	}
	r := in.Record
	switch {
	case in.Version != savedVersion && in.Version != savedBetween:
		return Record{}, fmt.Errorf("its version is %d, and this server reads %d and %d", in.Version, savedVersion, savedBetween)
	case r.between() != (in.Version == savedBetween) || r.between() && (r.Peer == "" || r.Here != Source && r.Here != Destination):
		return Record{}, fmt.Errorf("it says of two servers that this one's side is %.40q, and the other one %.40q", r.Here, r.Peer)
	case r.ID.IsZero():
		return Record{}, fmt.Errorf("it has no migration_id")
	case !slices.Contains(reachable, r.Status):
		return Record{}, fmt.Errorf("its state %.40q with the pen at %.40q and the owner %.40q is none that can be", r.State, r.Pen, r.Owner)
	}
	if err := checkParts(r.Parts); err != nil {
		return Record{}, err
	}
	return r, nil
}

// checkParts refuses a set that can't be.
func checkParts(parts []Part) error {
	if len(parts) == 0 || len(parts) > maxVolumes {
		return fmt.Errorf("it has %d volumes; allowed are 1 to %d", len(parts), maxVolumes)
	}
	seen := map[volume.ID]bool{}
	for _, p := range parts {
		for _, id := range []volume.ID{p.Volume, p.Source, p.Destination} {
			if id.IsZero() || seen[id] {
				return fmt.Errorf("an id of its volumes and attachments is missing, or is there twice")
			}
			seen[id] = true
		}
	}
	return nil
}

// reachable are the statuses that Step leads to, and those of what was found without a journal.
var reachable = []Status{
	{Preparing, Source, ""},
	{Prepared, Source, ""},
	{Prepared, Destination, ""},
	{Concluding, Destination, ""},
	{Reverting, Source, ""},
	{Reverting, Destination, ""},
	{Reverting, "", ""},
	{Stable, Source, Source},
	{Stable, Destination, Destination},
	{NeedsOperator, Source, ""},
	{NeedsOperator, Destination, ""},
	{NeedsOperator, "", ""},
}

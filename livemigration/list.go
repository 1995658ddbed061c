package livemigration

import (
	"slices"

	"elstore/export"
	"elstore/volume"
)

// Info is what anybody may know of a migration.
type Info struct {
	Record
	// PenAsked says of a migration between two servers that the destination has asked for the pen, and gets it as soon as the source's
	// server answers, whether anybody still waits for that or not. To revert takes it back.
	PenAsked bool
	Waiting  string             // why it is not over yet; "" where it waits for nothing but its callers
	Sessions [][]export.Session // of the destination, in the order of Parts
}

// Get returns a migration.
func (s *Service) Get(q Ref) (Info, error) {
	m, err := s.find(q)
	if err != nil {
		return Info{}, err
	}
	return s.info(m), nil
}

// List returns the migrations that are open, and those that ended not long ago, the oldest first. With a client those that are its own
// on either side.
func (s *Service) List(client *volume.Client) []Info {
	list := []Info{}
	for _, m := range s.list() {
		i := s.info(m)
		if i.TakesPart(client) {
			list = append(list, i)
		}
	}
	return list
}

func (s *Service) info(m *migration) Info {
	s.mu.Lock()
	i := Info{Record: m.rec, Waiting: m.waiting, PenAsked: m.asked && m.rec.Status == Status{Prepared, Source, ""}}
	s.mu.Unlock()
	i.Parts = slices.Clone(i.Parts)
	for _, p := range i.Parts {
		i.Sessions = append(i.Sessions, s.cfg.Exports.Logins(p.Volume, p.Destination))
	}
	return i
}

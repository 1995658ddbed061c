package volume

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"elstore/volume/durable"
	"elstore/volume/fault"
)

// setJournal is the journal of one CreateMany that has not been answered yet: which volumes it is making where. A set that
// is found at the start was never acknowledged, and is rolled back whole.
type setJournal struct {
	Volumes map[string][]ID `json:"volumes"` // by pool
}

const setDir = "sets"

// CreateMany makes all of the volumes or none, also across a crash. The answer has their order.
func (s *Service) CreateMany(ctx context.Context, list []NewVolume) ([]Volume, error) {
	wants := make([]Want, len(list))
	for i := range list {
		n := &list[i]
		if n.Meta.Size == 0 {
			return nil, fault.Errorf(fault.BadRequest, "size 0 is not allowed: a volume has at least %d bytes", SectorSize)
		}
		if err := n.Check(); err != nil {
			return nil, err
		}
		if n.ID.IsZero() {
			n.ID = NewID()
		}
		wants[i] = n.want()
	}
	if len(list) == 0 {
		return []Volume{}, nil
	}
	// In the order of ids, so that two calls with the same ids can't wait for each other.
	order := make([]ID, len(list))
	for i := range list {
		order[i] = list[i].ID
	}
	slices.SortFunc(order, func(a, b ID) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
	for i, id := range order {
		if i > 0 && id == order[i-1] {
			return nil, fault.Errorf(fault.BadRequest, "volume %s is asked for twice", id)
		}
		unlock, err := s.lock(ctx, id)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	if v, ok, err := s.alreadyAll(ctx, list); ok || err != nil {
		return v, err
	}
	rooms, err := s.cfg.Pools.Reserve(ctx, limited(ctx, wants...), s.emptyOldest)
	if err != nil {
		return nil, err
	}
	for _, r := range rooms {
		defer r.Release()
	}
	return s.makeSet(ctx, list, rooms)
}

// alreadyAll returns the volumes of an earlier try of the same call. Since sets are whole, the first stands for all.
func (s *Service) alreadyAll(ctx context.Context, list []NewVolume) ([]Volume, bool, error) {
	var there []Volume
	for i := range list {
		v, ok, err := s.already(ctx, &list[i])
		if err != nil {
			return nil, false, err
		}
		if ok {
			there = append(there, v)
		}
	}
	switch len(there) {
	case 0:
		return nil, false, nil
	case len(list):
		found := map[string][]ID{}
		for i := range there {
			found[there[i].Pool] = append(found[there[i].Pool], there[i].ID)
		}
		if err := s.strikeAll(found); err != nil {
			return nil, false, err
		}
		return there, true, nil
	}
	return nil, false, fault.Errorf(fault.VolumeExists, "some of the volumes are there already")
}

func (s *Service) makeSet(ctx context.Context, list []NewVolume, rooms []Reservation) (_ []Volume, err error) {
	set := make([]*making, len(list))
	metas := make([]Meta, len(list))
	journal := setJournal{Volumes: map[string][]ID{}}
	for i := range list {
		n := &list[i]
		inPool, at, leave, err := s.enter(ctx, rooms[i].Pool())
		if err != nil {
			return nil, err
		}
		defer leave()
		set[i] = &making{at: at, rooms: rooms[i : i+1], bytes: []int64{n.Meta.Size}}
		defer set[i].discard()
		metas[i], err = s.stage(inPool, set[i], n, func(ctx context.Context, mk *making) (Meta, error) {
			return mk.stage.Fill(ctx, n.Meta, Content{Prealloc: n.Prealloc})
		})
		if err != nil {
			return nil, err
		}
		journal.Volumes[rooms[i].Pool()] = append(journal.Volumes[rooms[i].Pool()], n.ID)
	}
	if err := s.strikeAll(journal.Volumes); err != nil {
		return nil, err
	}
	name, err := s.writeSet(journal)
	if err != nil {
		return nil, err
	}
	made := 0
	for made < len(list) {
		if err = s.commit(ctx, list[made].ID, set[made], metas[made]); err != nil {
			break
		}
		made++
	}
	if err == nil {
		// From here on the set is there: the moment at which it counts.
		err = s.dropSet(name)
	}
	if err != nil {
		undone := true
		for i := range made {
			undone = s.unmake(context.WithoutCancel(ctx), set[i].at, list[i].ID) && undone
		}
		if undone {
			_ = s.dropSet(name)
		}
		return nil, err
	}
	volumes := make([]Volume, len(list))
	for i := range list {
		if volumes[i], err = s.Get(ctx, list[i].ID, nil); err != nil {
			return nil, err
		}
	}
	return volumes, nil
}

// unmake removes a volume that was never acknowledged and whose key is held. It reports whether it is gone.
func (s *Service) unmake(ctx context.Context, at *attached, id ID) bool {
	err := purge(ctx, at.backend, id)
	if err != nil {
		s.cfg.Log.Error("volume of a failed set stays until the next start", slog.Any("volume", id), slog.Any("error", err))
	}
	s.mu.RLock()
	e := s.index.all[id]
	s.mu.RUnlock()
	if e != nil {
		at.pool.Account(s.remove(e))
		s.publish(EventPurged, at, e.found)
	}
	return err == nil
}

// purge removes a volume from its place, if it is there.
func purge(ctx context.Context, b Backend, id ID) error {
	h, err := b.Lock(ctx, id, Operation{Purpose: "purge"})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer h.Unlock()
	return h.Purge(ctx)
}

func (s *Service) writeSet(journal setJournal) (name string, err error) {
	if s.cfg.State == nil {
		return "", nil
	}
	if err := s.cfg.State.MkdirAll(setDir, 0o700); err != nil {
		return "", fault.FromState("write the journal of a set of volumes", err)
	}
	data, err := json.Marshal(journal)
	if err != nil {
		return "", err
	}
	name = setDir + "/" + NewID().String() + ".json"
	return name, fault.FromState("write the journal of a set of volumes", durable.WriteFile(s.cfg.State, name, data, 0o600))
}

func (s *Service) dropSet(name string) error {
	if name == "" {
		return nil
	}
	s.sets.Lock() // who changes it at this moment must not bring it back
	defer s.sets.Unlock()
	return fault.FromState("write the journal of a set of volumes", durable.Remove(s.cfg.State, name))
}

// rollBackSets removes from a pool, and from found, the volumes of sets that were never acknowledged. The journal of a set stays
// until its volumes in every pool are gone.
func (s *Service) rollBackSets(ctx context.Context, pool string, b Backend, found []Found) ([]Found, error) {
	names, err := s.setNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		journal, err := s.readSet(name)
		if err != nil {
			return nil, err
		}
		ids := journal.Volumes[pool]
		if len(ids) == 0 {
			continue // the set may be in the making in other pools
		}
		for _, id := range ids {
			if err := purge(ctx, b, id); err != nil {
				return nil, err
			}
		}
		found = slices.DeleteFunc(found, func(f Found) bool { return slices.Contains(ids, f.ID) })
		if err := s.strike(name, map[string][]ID{pool: ids}); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// strikeAll takes volumes, by pool, out of all journals: an earlier try with the same ids may have failed and left its
// own behind, and must not take away what this one makes.
func (s *Service) strikeAll(volumes map[string][]ID) error {
	names, err := s.setNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.strike(name, volumes); err != nil {
			return err
		}
	}
	return nil
}

// strike takes volumes, by pool, out of a set's journal, and removes it with the last. One that is gone stays so.
func (s *Service) strike(name string, volumes map[string][]ID) error {
	s.sets.Lock()
	defer s.sets.Unlock()
	journal, err := s.readSet(name)
	if err != nil || len(journal.Volumes) == 0 {
		return err
	}
	changed := false
	for pool, ids := range volumes {
		there := journal.Volumes[pool]
		left := slices.DeleteFunc(slices.Clone(there), func(id ID) bool { return slices.Contains(ids, id) })
		changed = changed || len(left) < len(there)
		if journal.Volumes[pool] = left; len(left) == 0 {
			delete(journal.Volumes, pool)
		}
	}
	switch {
	case !changed:
		return nil
	case len(journal.Volumes) == 0:
		return fault.FromState("write the journal of a set of volumes", durable.Remove(s.cfg.State, name))
	}
	data, err := json.Marshal(journal)
	if err != nil {
		return err
	}
	return fault.FromState("write the journal of a set of volumes", durable.WriteFile(s.cfg.State, name, data, 0o600))
}

// setNames lists the journals that there are.
func (s *Service) setNames() ([]string, error) {
	if s.cfg.State == nil {
		return nil, nil
	}
	names, err := fs.Glob(s.cfg.State.FS(), setDir+"/*.json")
	return names, fault.FromState("read the journals of sets of volumes", err)
}

// readSet reads a journal. One that is gone names no volumes.
func (s *Service) readSet(name string) (journal setJournal, err error) {
	data, err := s.cfg.State.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return setJournal{}, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &journal)
	}
	return journal, fault.New(fault.StateUnavailable, "journal "+name, err)
}

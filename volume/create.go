package volume

import (
	"context"
	"errors"
	"maps"
	"slices"

	"elstore/volume/fault"
)

// NewVolume says what volume is to be made.
type NewVolume struct {
	ID       ID     // zero: a random one. One that is there already, of the same creator, is returned as it is
	Meta     Meta   // Size is the virtual size in bytes; 0 only where content from outside has one
	Pool     string // "" for the best one
	Prealloc Prealloc

	ISOType string            // of an ISO volume, as its isoinfo.json says
	Files   map[string][]byte // what lies beside the image; an ISO volume has at least one; see CheckBeside
}

// metadataRoom is what a new volume writes beside its data, in bytes: directory, meta.json, a qcow2's first tables.
const metadataRoom = 256 << 10

// Check refuses what can't be a volume, a size of 0 excepted. Pure. Every call that makes volumes checks too.
func (n *NewVolume) Check() error {
	m := &n.Meta
	if err := CheckName(m.Name); err != nil {
		return err
	}
	switch {
	case m.Bootable && m.Shareable:
		return fault.Errorf(fault.BadRequest, "bootable and shareable exclude each other")
	case m.Format == ISO && (len(n.Files) == 0 || !m.ReadOnly):
		return fault.Errorf(fault.VolumeFormatNotAllowed, "format iso is made by /iso/create; here use raw, qcow2 or rbd")
	case m.Size < 0 || m.Size > MaxSize || m.Size%SectorSize != 0:
		return fault.Errorf(fault.BadRequest, "size %d is not a multiple of %d bytes from %d to %d", m.Size, SectorSize, SectorSize, int64(MaxSize))
	}
	for name, data := range n.Files {
		if err := CheckBeside(name); err != nil {
			return err
		}
		if len(data) > MaxBeside {
			return fault.Errorf(fault.BodyTooLarge, "%s has %d bytes; allowed are %d", name, len(data), MaxBeside)
		}
	}
	return checkExtra(m.Extra)
}

// want is the room that an empty volume needs.
func (n *NewVolume) want() Want {
	w := Want{Pool: n.Pool, Volumes: 1, Size: n.Meta.Size, Bytes: n.Meta.Size, Write: metadataRoom, Format: n.Meta.Format}
	if n.Prealloc.Takes() {
		w.Write += n.Meta.Size
	} else if n.Prealloc == PreallocMetadata && n.Meta.Format == QCOW2 {
		w.Write += n.Meta.Size / 8192 // an 8-byte L2 entry for every cluster of 64 KiB, and refcounts
	}
	return w
}

// Create makes an empty volume. An ISO volume may have a size of 0: then its content is yet to come.
func (s *Service) Create(ctx context.Context, n NewVolume, p Progress) (Volume, error) {
	if n.Meta.Size == 0 && n.Meta.Format != ISO {
		return Volume{}, fault.Errorf(fault.BadRequest, "size 0 is not allowed: a volume has at least %d bytes", SectorSize)
	}
	if err := n.Check(); err != nil {
		return Volume{}, err
	}
	return s.make(ctx, &n, n.want(), func(ctx context.Context, mk *making) (Meta, error) {
		return mk.stage.Fill(ctx, n.Meta, Content{Prealloc: n.Prealloc, Progress: p})
	})
}

// CanCreate returns how many pools could take the volume.
func (s *Service) CanCreate(ctx context.Context, n NewVolume) (int, error) {
	return s.cfg.Pools.Count(ctx, limited(ctx, n.want())[0])
}

// CanCreateAll reports whether all could be made together.
func (s *Service) CanCreateAll(ctx context.Context, list []NewVolume) (bool, error) {
	wants := make([]Want, len(list))
	for i := range list {
		wants[i] = list[i].want()
	}
	return s.cfg.Pools.Fit(ctx, limited(ctx, wants...))
}

// making is a new volume before it is in its place.
type making struct {
	at    *attached
	stage Stage
	rooms []Reservation // what it takes: the first is for the volume, others for bytes that the content turned out to need
	bytes []int64       // of each, what counts once the volume is there

	isoType string
}

// filler makes a new volume's content in its stage.
type filler func(ctx context.Context, mk *making) (Meta, error)

// make is the way of every new volume: room, stage, content, commit, index.
func (s *Service) make(ctx context.Context, n *NewVolume, w Want, fill filler) (Volume, error) {
	if n.ID.IsZero() {
		n.ID = NewID()
	}
	unlock, err := s.lock(ctx, n.ID)
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	if v, ok, err := s.already(ctx, n); ok || err != nil {
		return v, err
	}
	rooms, err := s.cfg.Pools.Reserve(ctx, limited(ctx, w), s.emptyOldest)
	if err != nil {
		return Volume{}, err
	}
	defer rooms[0].Release() // again with mk, which is allowed
	ctx, at, leave, err := s.enter(ctx, rooms[0].Pool())
	if err != nil {
		return Volume{}, err
	}
	defer leave()
	mk := &making{at: at, rooms: rooms, bytes: []int64{w.Bytes}}
	m, err := s.stage(ctx, mk, n, fill)
	defer mk.discard()
	if err != nil {
		return Volume{}, err
	}
	if err := s.commit(ctx, n.ID, mk, m); err != nil {
		return Volume{}, err
	}
	return s.Get(ctx, n.ID, nil)
}

// already returns the volume that an earlier, cut-off try of the same call made.
func (s *Service) already(ctx context.Context, n *NewVolume) (Volume, bool, error) {
	s.mu.RLock()
	e := s.index.all[n.ID]
	same := e != nil && e.found.Meta.Creator == n.Meta.Creator
	s.mu.RUnlock()
	switch {
	case e == nil:
		return Volume{}, false, nil
	case !same:
		return Volume{}, false, fault.Errorf(fault.VolumeExists, "volume %s is there already", n.ID)
	}
	v, err := s.Get(ctx, n.ID, nil)
	return v, err == nil, err
}

// stage makes the content of a new volume beside its place. The caller discards mk, whatever comes of it.
func (s *Service) stage(ctx context.Context, mk *making, n *NewVolume, fill filler) (m Meta, err error) {
	if mk.stage, err = mk.at.backend.Stage(ctx, n.ID); err != nil {
		return Meta{}, s.unwell(mk.at, err)
	}
	if m, err = fill(ctx, mk); err != nil {
		return m, s.unwell(mk.at, err)
	}
	mk.isoType = n.ISOType
	for _, name := range slices.Sorted(maps.Keys(n.Files)) {
		if err := mk.stage.WriteFile(name, n.Files[name]); err != nil {
			return m, s.unwell(mk.at, err)
		}
	}
	return m, nil
}

// discard removes what was made, and gives back its room, unless it was committed.
func (mk *making) discard() {
	if mk.stage != nil {
		mk.stage.Discard()
		mk.at.pool.SetBase(mk.at.backend.BaseBytes())
	}
	for _, r := range mk.rooms {
		r.Release()
	}
}

// commit puts a staged volume in its place and into the index.
func (s *Service) commit(ctx context.Context, id ID, mk *making, m Meta) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := mk.stage.Commit(ctx, m); err != nil {
		return s.unwell(mk.at, err)
	}
	for i, r := range mk.rooms {
		r.Keep(1-min(i, 1), mk.bytes[i])
	}
	f := Found{ID: id, Meta: m, ISOType: mk.isoType, Changed: now()}
	s.mu.Lock()
	s.index.put(&entry{id: id, pool: mk.at}, f)
	s.mu.Unlock()
	s.publish(EventCreated, mk.at, f)
	return nil
}

// unwell tells the pool of a failure that is its storage's.
func (s *Service) unwell(at *attached, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if k := fault.KindOf(err); k == fault.Unavailable || k == fault.Internal {
		at.pool.Unwell(err)
	}
	return err
}

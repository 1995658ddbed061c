package volume

import (
	"context"
	"os"

	"elstore/volume/fault"
)

// RecordsDir is the directory in a volume's own where exports keep their records, of mode 0700.
const RecordsDir = ".export"

// Turn is a volume for the length of one operation of whoever exports it: nobody else, in any process, changes it or
// its records meanwhile. It is used by one goroutine.
type Turn struct {
	service *Service
	handle  *handle
	visit   bool      // without the volume's lock
	opened  []*Opened // by this turn
}

// Turn runs fn as the one operation on a volume that stands in its pool and can be used. purpose is a word that describes it. What
// fn opened is closed again if it fails. fn must not close an Opened of the volume: that waits for the turn to end.
func (s *Service) Turn(ctx context.Context, id ID, purpose string, fn func(ctx context.Context, t *Turn) error) error {
	return s.operate(ctx, id, nil, Operation{Purpose: purpose}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		t := &Turn{service: s, handle: h}
		err := t.run(ctx, fn)
		if f, lerr := h.Load(context.WithoutCancel(ctx)); lerr == nil { // fn may have made or removed records
			s.replace(h.entry, f)
		}
		return err
	})
}

// run calls fn, and closes what it opened if it fails.
func (t *Turn) run(ctx context.Context, fn func(ctx context.Context, t *Turn) error) error {
	err := fn(ctx, t)
	if err != nil {
		for _, o := range t.opened {
			_ = o.end() // the error that counts is fn's
		}
	}
	return err
}

// Visit is Turn without the volume's lock, for a look at a volume that another server has locked, and may change and write to meanwhile.
// What fn opens is for reading (Backend.Peek), until a Turn takes it; fn changes nothing of the volume.
func (s *Service) Visit(ctx context.Context, id ID, fn func(ctx context.Context, t *Turn) error) error {
	ctx, e, leave, err := s.comeTo(ctx, id, nil)
	if err != nil {
		return err
	}
	defer leave()
	found, err := e.pool.backend.Load(ctx, id)
	if err != nil {
		return s.lost(e, err)
	}
	e.pool.pool.Observe(s.replace(e, found))
	h := &handle{entry: e, at: e.pool, found: found}
	if err := h.usable(); err != nil {
		return err
	}
	return (&Turn{service: s, handle: h, visit: true}).run(ctx, fn)
}

// Take opens for writing what was opened in a Visit, now that the lock is ours: its requests are held back for a moment and go on. What is
// open for that already, or not at all, stays as it is.
func (t *Turn) Take(ctx context.Context) error {
	s, h := t.service, t.handle
	o := s.inUse(h)
	if o == nil || !s.peeked(o) {
		return nil
	}
	err := o.device.replace(ctx, func() (Device, error) { return h.Open(ctx, h.found.Meta, h.found.Meta.ReadOnly) })
	if err == nil {
		s.mu.Lock()
		o.peeked = false
		s.mu.Unlock()
	}
	return err
}

func (s *Service) peeked(o *opened) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return o.peeked
}

// Visits reports whether this is a Visit, without the volume's lock.
func (t *Turn) Visits() bool { return t.visit }

// Volume returns the volume as it is on disk now. OnDisk is not set.
func (t *Turn) Volume() Volume {
	t.service.mu.RLock()
	defer t.service.mu.RUnlock()
	return t.service.record(t.handle.entry)
}

// Directory opens the directory that the volume stands in. The caller closes it, and may keep it for longer than the turn.
func (t *Turn) Directory() (*os.Root, error) { return t.handle.at.backend.Directory(t.handle.found.ID) }

// Open claims the volume, as Service.Open does.
func (t *Turn) Open(ctx context.Context, c Claim) (*Opened, error) {
	s, h := t.service, t.handle
	c.Exclusive = c.Exclusive || c.Path
	if h.found.Meta.ReadOnly && !c.ReadOnly {
		return nil, fault.Errorf(fault.VolumeReadOnly, "volume %s is read-only", h.found.ID)
	}
	if h.found.Meta.Size == 0 {
		return nil, fault.Errorf(fault.VolumeNotExportable, "volume %s has no content yet", h.found.ID)
	}
	old, err := s.admit(h, &c)
	if err != nil {
		return nil, err
	}
	if old == nil {
		var dev Device
		switch {
		case t.visit:
			dev, err = h.at.backend.Peek(ctx, h.found.ID, h.found.Meta)
		case c.Path:
			dev, err = h.Lend(ctx, h.found.Meta)
		default:
			dev, err = h.Open(ctx, h.found.Meta, h.found.Meta.ReadOnly)
		}
		if err != nil {
			return nil, err
		}
		old = &opened{device: newGate(dev), peeked: t.visit}
	} else if !t.visit && s.peeked(old) {
		return nil, fault.Errorf(fault.VolumeAlreadyExported, "volume %s is open here for reading, while another server may write to it", h.found.ID)
	}
	s.mu.Lock()
	old.claims = append(old.claims, &c)
	h.entry.opened = old
	s.mu.Unlock()
	o := &Opened{Device: old.device, service: s, entry: h.entry, opened: old, claim: &c}
	t.opened = append(t.opened, o)
	return o, nil
}

// Idle returns nil where nobody in this machine has the image open, ExportBusy where somebody has, or why that can't be told. Never
// while a claim has it open for its Device, nor in a Visit.
func (t *Turn) Idle(ctx context.Context) error { return t.handle.Idle(ctx, t.handle.found.Meta) }

// admit returns what is open of the volume, nil for nothing, or which claim is in c's way.
func (s *Service) admit(h *handle, c *Claim) (*opened, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	old := h.entry.opened
	if old == nil {
		return nil, nil //nolint:nilnil // nothing is open, and nothing is wrong with that
	}
	for _, other := range old.claims {
		if c.Exclusive || other.Exclusive {
			return nil, fault.Errorf(fault.VolumeAlreadyExported, "volume %s is used by %s", h.found.ID, other.Export)
		}
	}
	return old, nil
}

// Directory opens the directory that a volume stands in, whoever works on the volume at that time. The caller closes it.
func (s *Service) Directory(ctx context.Context, id ID) (*os.Root, error) {
	e, err := s.owned(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	_, at, leave, err := s.enter(ctx, e.pool.pool.Name())
	if err != nil {
		return nil, err
	}
	defer leave()
	return at.backend.Directory(id)
}

// Recorded returns the volumes that stand in a pool which is there, and have export records beside them.
func (s *Service) Recorded() []ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var ids []ID
	for id, e := range s.index.all {
		if e.found.Records && e.found.Trashed.IsZero() && !e.pool.gone {
			ids = append(ids, id)
		}
	}
	return ids
}

// Stale reports whether the volume's pool went, or went and came back, since it was opened: the Device is then of the
// pool that was, and has to be closed before the volume can be opened anew.
func (o *Opened) Stale() bool {
	o.service.mu.RLock()
	defer o.service.mu.RUnlock()
	return o.entry.pool.gone || o.service.index.all[o.entry.id] != o.entry
}

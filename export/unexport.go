package export

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"elstore/volume"
	"elstore/volume/fault"
)

// Unexport ends a client's attachments to a volume: all of them, or with a kind those of that kind. When it returns nil nobody
// gets in through them any more, and nothing of them can reach the volume. What is not there has ended already. With ifIdle a live
// session is ExportBusy instead.
func (s *Service) Unexport(ctx context.Context, id volume.ID, client volume.Client, kind string, ifIdle bool) error {
	if kind != "" {
		if _, err := s.kind(kind); err != nil {
			return err
		}
	}
	ends := func(r Record) bool { return r.Client == client && (kind == "" || r.Kind == kind) }
	_, err := s.change(ctx, id, "unexport", nil, func(sc *scene) error {
		if sc.book.Server != s.cfg.ServerID && !sc.book.Visits(s.cfg.ServerID) {
			if sc.shared && len(sc.book.Attachments) > 0 {
				return nil // it is that server's to end; ours has nothing there
			}
			if err := s.adopt(sc); err != nil {
				return err
			}
		}
		for _, r := range sc.book.Attachments {
			if ends(r) && r.Migration != "" {
				return fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; conclude or revert that first", id, r.Migration)
			}
		}
		if slices.ContainsFunc(sc.book.Attachments, func(r Record) bool { return ends(r) && r.Path }) {
			if err := sc.idle(); err != nil {
				return err
			}
		}
		if ifIdle {
			if err := s.idle(id, ends); err != nil {
				return err
			}
		}
		sc.book.Drop(ends)
		sc.closed = true // to shut somebody out must not fail since somebody else can't be let in
		return nil
	})
	if fault.Is(err, fault.VolumeNotFound) || fault.Is(err, fault.VolumeInTrash) {
		return s.endLost(ctx, id, ends)
	}
	return err
}

// endLost ends attachments to a volume that is not in its place any more. Its directory is open still, wherever it
// is: should it come back, its Book must not let them in again.
func (s *Service) endLost(ctx context.Context, id volume.ID, ends func(Record) bool) error {
	done, err := s.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	e := s.find(id)
	if e == nil {
		return nil
	}
	b, err := e.store.readBook(id)
	if err != nil {
		return err
	}
	if b.Server == s.cfg.ServerID {
		b.Drop(ends)
		if err := e.store.saveBook(&b); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.mu.Lock()
	if b.Server == s.cfg.ServerID {
		e.book = b
	}
	for _, a := range e.attachments {
		a.fencing = a.fencing || ends(a.rec)
	}
	s.mu.Unlock()
	return s.shutOut(ctx, e)
}

// idle refuses where somebody is logged in.
func (s *Service) idle(id volume.ID, ends func(Record) bool) error {
	e := s.find(id)
	if e == nil {
		return nil
	}
	for _, a := range s.standing(e) {
		if !ends(a.rec) {
			continue
		}
		if live := a.at.Sessions(); len(live) > 0 {
			return fault.Errorf(fault.ExportBusy, "volume %s is in use by %s at %s, over %s; without \"if_idle\" that is ended",
				id, live[0].Initiator, live[0].Remote, a.rec.Kind)
		}
	}
	return nil
}

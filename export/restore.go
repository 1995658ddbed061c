package export

import (
	"context"
	"log/slog"
	"sync"

	"elstore/volume"
	"elstore/volume/fault"
)

// atOnce is how many volumes are restored, or looked at, at the same time.
const atOnce = 16

// Restore lets in again whoever this server's Books name, and removes the markers of what is not there any more. What can't be
// restored now is tried again by Run. It is called before the API opens.
func (s *Service) Restore(ctx context.Context) {
	s.each(ctx, s.cfg.Volumes.Recorded(), s.restore)
}

// each calls do for every volume, several at a time.
func (s *Service) each(ctx context.Context, ids []volume.ID, do func(ctx context.Context, id volume.ID)) {
	var work sync.WaitGroup
	defer work.Wait()
	room := make(chan struct{}, atOnce)
	for _, id := range ids {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		work.Go(func() {
			defer func() { <-room }()
			do(ctx, id)
		})
	}
}

// restore brings what stands of a volume into agreement with its Book.
func (s *Service) restore(ctx context.Context, id volume.ID) {
	s.mu.Lock()
	last := s.waiting[id]
	s.mu.Unlock()
	before := 0
	if e := s.find(id); e != nil {
		before = len(s.standing(e))
	}
	if abroad, err := s.visit(ctx, id); abroad {
		s.mu.Lock()
		if delete(s.waiting, id); err != nil && ctx.Err() == nil {
			s.waiting[id] = err
		}
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			s.complain(id, last, err)
		}
		return
	}
	e, err := s.change(ctx, id, "export", nil, func(sc *scene) error {
		if sc.book.writer() != s.cfg.ServerID && len(sc.book.Attachments) > 0 {
			return errForeign // nothing of it stands here, and its Book stays as it is
		}
		s.dropEnded(&sc.book)
		sc.spares = true
		return nil
	})
	switch {
	case err == nil:
		if n := len(s.standing(e)); n > 0 && n > before {
			s.cfg.Log.Info("exports restored", slog.Any("volume", id), slog.Int("attachments", n))
		}
		s.mu.Lock()
		why := s.waiting[id]
		s.mu.Unlock()
		if why != nil {
			s.complain(id, last, why)
			return
		}
		s.tidy(ctx, id)
	case fault.Is(err, fault.VolumeNotFound), err == errForeign: //nolint:errorlint // it is returned as it is
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	case ctx.Err() != nil:
	default:
		s.mu.Lock()
		s.waiting[id] = err
		s.mu.Unlock()
		s.complain(id, last, err)
	}
}

// complain logs why a volume's exports don't all stand, unless that is what was logged last: it is tried often.
func (s *Service) complain(id volume.ID, last, why error) {
	if last == nil || last.Error() != why.Error() {
		s.cfg.Log.Error("exports not restored yet", slog.Any("volume", id), slog.Any("error", why))
	}
}

var errForeign = fault.Errorf(fault.VolumeAlreadyExported, "the volume's exports are another server's")

// tidy removes what a crash left beside a volume: markers of ours that nothing stands for, and half-written files.
func (s *Service) tidy(ctx context.Context, id volume.ID) {
	done, err := s.turn(ctx, id)
	if err != nil {
		return
	}
	defer done()
	dir, err := s.directory(ctx, id)
	if err != nil {
		return
	}
	defer dir.Close()
	store := &Store{dir: dir}
	if err := store.sweep(); err != nil {
		s.cfg.Log.Warn("export records not swept", slog.Any("volume", id), slog.Any("error", err))
	}
	s.unmark(id, dir)
	_ = dir.Remove(volume.RecordsDir) // which fails where it isn't empty
}

// marked reports whether a marker is of something that stands.
func (s *Service) marked(id volume.ID, name string) bool {
	e := s.find(id)
	if e == nil {
		return false
	}
	for _, a := range s.standing(e) {
		if Name(a.rec.Client, id)+markerSuffix == name {
			return true
		}
	}
	return false
}

package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// stage is a volume in the making, in a directory beside its place.
type stage struct {
	b      *Backend
	id     volume.ID
	d      *dir
	lock   *os.File // of the directory, which becomes the volume's
	filled *builder
	mark   string // the .ignore file of a volume that is made in its place
	done   bool   // committed or discarded
}

var _ volume.Stage = (*stage)(nil)

// Stage begins a volume. What a crash left of an earlier try is removed.
func (b *Backend) Stage(ctx context.Context, id volume.ID) (volume.Stage, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &stage{b: b, id: id}
	if _, taken := b.stages.LoadOrStore(id, s); taken {
		return nil, busy(id, "another operation that is making it")
	}
	err := b.sweep(ctx, id)
	if err == nil {
		err = b.free(id)
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if errors.Is(err, fs.ErrExist) && !fault.Is(err, fault.VolumeExists) {
		err = busy(id, "another server that is making it")
	}
	if err != nil {
		s.let()
		return nil, fault.FromOS("make the volume's directory", err)
	}
	return s, nil
}

// begin makes the directory under another name and gives it its own when it is locked: whoever finds it so and can lock it
// knows that its maker is gone.
func (s *stage) begin(ctx context.Context) error {
	if s.b.maker.inPlace() {
		return s.beginInPlace(ctx)
	}
	pool := s.b.pool
	t, err := pool.newTemp()
	if err != nil {
		return err
	}
	defer t.release()
	if err := s.b.maker.make(ctx, pool, t.name); err != nil {
		return err
	}
	if s.d, err = pool.sub(t.name); err != nil {
		return err
	}
	if s.lock, err = s.d.openNew(lockName); err != nil {
		return err
	}
	if err := flockNow(s.lock, unix.LOCK_EX); err != nil {
		return err
	}
	if err := pool.move(t.name, stageName(s.id)); err != nil {
		return err
	}
	s.renamed(stageName(s.id))
	return nil
}

// sweep removes what a crash left of making the volume.
func (b *Backend) sweep(ctx context.Context, id volume.ID) error {
	if b.maker.inPlace() {
		return b.sweepHalf(ctx, id)
	}
	return b.sweepStage(ctx, stageName(id))
}

// free reports by an error that the id is taken.
func (b *Backend) free(id volume.ID) error {
	for _, in := range []string{"", binName + "/"} {
		if b.pool.has(in + volumeName(id)) {
			return fault.Errorf(fault.VolumeExists, "volume %s is there already", id)
		}
	}
	return nil
}

// Incoming makes a file for data that arrives.
func (s *stage) Incoming() (*os.File, error) {
	f, err := s.d.openNew(uploadName)
	return f, fault.FromOS("make a file for the data", err)
}

// Fill makes the image.
func (s *stage) Fill(ctx context.Context, m volume.Meta, c volume.Content) (volume.Meta, error) {
	s.empty()
	s.filled = &builder{
		b: s.b, id: s.id, d: s.d, name: dataName(m.Format), meta: m, content: c, lock: s.lock, adopt: true,
	}
	m, err := s.filled.build(ctx)
	if err != nil {
		s.empty()
	}
	return m, err
}

// empty removes what an earlier Fill made.
func (s *stage) empty() {
	if s.filled == nil {
		return
	}
	_ = s.d.remove(s.filled.name) // it goes with the stage
	s.filled.release()
	s.filled = nil
}

// Commit puts the volume in its place.
func (s *stage) Commit(ctx context.Context, m volume.Meta) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.done || s.filled == nil:
		return fault.Errorf(fault.InternalError, "volume %s was committed without an image", s.id)
	case len(m.Encode()) > volume.MaxMeta:
		return fault.Errorf(fault.BadRequest, "the attributes of volume %s take more than %d bytes", s.id, volume.MaxMeta)
	}
	if s.d.has(uploadName) {
		if err := s.d.remove(uploadName); err != nil {
			return err
		}
	}
	if err := s.put(m); err != nil {
		return err
	}
	s.there(m)
	return nil
}

// there ends the stage of a volume that is in its place.
func (s *stage) there(m volume.Meta) {
	s.b.bases.uses(s.id, m.Base)
	s.filled.release()
	s.let()
}

// put makes the staged volume be there.
func (s *stage) put(m volume.Meta) error {
	if s.b.maker.inPlace() {
		return s.commitInPlace(m)
	}
	if err := s.d.replace(metaName, m.Encode()); err != nil {
		return err
	}
	if err := s.b.free(s.id); err != nil {
		return err
	}
	name, place := stageName(s.id), volumeName(s.id)
	err := s.b.pool.rename(name, place)
	if errors.Is(err, fs.ErrExist) {
		return fault.Errorf(fault.VolumeExists, "volume %s is there already", s.id)
	}
	if err != nil {
		if !s.b.pool.has(name) && s.b.pool.rename(place, name) != nil && !s.b.pool.has(name) {
			s.b.cfg.Log.Error("volume in place that was not made durable", slog.Any("volume", s.id), slog.Any("error", err))
		}
	}
	return err
}

// Discard removes the volume if it is not in its place.
func (s *stage) Discard() {
	if s.done {
		return
	}
	if s.filled != nil {
		s.filled.release()
	}
	s.remove()
	s.let()
}

// remove removes the directory. What is open in it would keep a dataset from going.
func (s *stage) remove() {
	if s.b.maker.inPlace() {
		s.close()
	}
	if err := s.b.maker.remove(context.Background(), s.b.pool, s.b.stageName(s.id)); err != nil {
		s.b.cfg.Log.Warn("half-made volume left behind until the next start", slog.Any("volume", s.id), slog.Any("error", err))
	}
}

// making reports whether this Backend makes the volume at this moment.
func (b *Backend) making(id volume.ID) bool {
	_, ok := b.stages.Load(id)
	return ok
}

// let closes what the stage holds.
func (s *stage) let() {
	s.done = true
	s.close()
	s.b.stages.CompareAndDelete(s.id, s)
}

func (s *stage) close() {
	if s.lock != nil {
		s.lock.Close() //nolint:errcheck,gosec // nothing was written
	}
	if s.d != nil {
		s.d.close()
	}
}

package cloudinit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"elstore/volume"
	"elstore/volume/fault"
)

// New says what volume a seed is to be.
type New struct {
	ID       volume.ID // zero: a random one
	Creator  volume.Client
	Name     string
	Private  bool
	Bootable bool
	Clonable bool
	Alg      volume.Alg
	Pool     string // "" for the best one
	Extra    map[string]json.RawMessage
}

// State is how far a seed is.
type State struct {
	Volume   volume.Volume
	Expected int    // files that were announced
	Files    Files  // those that are there
	Complete bool   // the image is built, and the volume can be exported
	Instance string // the instance-id that a machine finds in the image; "" until it is complete
}

// Service keeps seeds as volumes. Its methods may be called at the same time; those on one volume run one after the other. Each
// returns after what it did is on disk.
type Service struct {
	volumes *volume.Service
	log     *slog.Logger
	get     Getter
	schema  *Schema
}

// Config is what a Service stands on. Volumes and Log are required.
type Config struct {
	Volumes *volume.Service
	Log     *slog.Logger
	Fetch   Getter  // of checksums beside cloud images; nil: none are looked for
	Schema  *Schema // checks files that come, beside Check; nil: Check is all
}

// NewService returns a Service.
func NewService(c Config) *Service { return &Service{c.Volumes, c.Log, c.Fetch, c.Schema} }

// Check is the function of that name, and cloud-init's own schema where that is installed.
func (s *Service) Check(ctx context.Context, name string, data []byte) error {
	if err := Check(name, data); err != nil {
		return err
	}
	return s.schema.Check(ctx, name, data)
}

// describe is the volume of a seed: an ISO image that is never written to.
func (n *New) describe(expected int, files Files) (volume.NewVolume, error) {
	v := volume.NewVolume{ID: n.ID, Pool: n.Pool, Files: map[string][]byte{volume.SeedDir + tracker(expected): {}}, Meta: volume.Meta{
		Creator: n.Creator, Name: n.Name, Private: n.Private, Bootable: n.Bootable, ReadOnly: true, Clonable: n.Clonable, Alg: n.Alg,
		Format: volume.ISO, Bus: volume.SATA, CloudInit: true, Extra: n.Extra,
	}}
	for name, data := range files {
		v.Files[volume.SeedDir+name] = data
	}
	if err := CheckExpected(expected); err != nil {
		return v, err
	}
	if err := files.Check(); err != nil {
		return v, err
	}
	return v, v.Check()
}

// Begin makes the volume of a seed of which expected files are to come, MinFiles to MaxFiles, with the first of them.
func (s *Service) Begin(ctx context.Context, n New, expected int, name string, data []byte) (State, error) {
	files := Files{name: data}
	v, err := n.describe(expected, files)
	if err != nil {
		return State{}, err
	}
	made, err := s.volumes.Create(ctx, v, nil)
	if err != nil {
		return State{}, err
	}
	return State{Volume: made, Expected: expected, Files: files}, nil
}

// Make makes the volume of a seed whose files are all there.
func (s *Service) Make(ctx context.Context, n New, files Files) (State, error) {
	image, err := Image(files)
	if err != nil {
		return State{}, err
	}
	v, err := n.describe(max(len(files), MinFiles), files)
	if err != nil {
		return State{}, err
	}
	made, err := s.volumes.Import(ctx, v, volume.Source{Body: bytes.NewReader(image), Length: int64(len(image))}, nil)
	if err != nil {
		return State{}, err
	}
	return s.Show(ctx, made.ID, nil)
}

// Add takes in one more file of a seed, or one in place of that which has come under the same name. With the last the image is
// built. CloudInitMetafilesNumberExceeded is the error for one too many.
func (s *Service) Add(ctx context.Context, id volume.ID, by volume.Who, name string, data []byte) (State, error) {
	if err := Check(name, data); err != nil {
		return State{}, err
	}
	return s.edit(ctx, id, by, "cloudinit", func(e *volume.Edit, st *State) error {
		before := maps.Clone(st.Files)
		_, again := before[name]
		if st.Complete || !again && len(st.Files) >= st.Expected {
			return fault.Errorf(fault.CloudInitMetafilesNumberExceeded, "volume %s has all of its %d files; %.80q is one too many", id, st.Expected, name)
		}
		st.Files[name] = data
		if err := st.Files.checkSize(); err != nil {
			return err
		}
		err := e.WriteFile(volume.SeedDir+name, data)
		if err == nil {
			err = st.build(e)
		}
		if fault.KindOf(err) == fault.NoSpace { // as if it had not come
			undo := State{Files: before}
			err = errors.Join(err, undo.store(e, st.Files))
		}
		return err
	})
}

// Put changes a file of a complete seed, or adds one, and builds the image anew. A machine that finds the image at its next boot applies
// it: unless meta-data itself is put, its instance-id changes. VolumeInUse is the error while the volume is exported.
func (s *Service) Put(ctx context.Context, id volume.ID, by volume.Who, name string, data []byte) (State, error) {
	return s.change(ctx, id, by, func(f Files) error {
		f[name] = data
		return f.Check()
	}, name)
}

// Delete removes a file of a complete seed, which may be absent, and builds the image anew.
func (s *Service) Delete(ctx context.Context, id volume.ID, by volume.Who, name string) (State, error) {
	if err := CheckName(name); err != nil {
		return State{}, err
	}
	return s.change(ctx, id, by, func(f Files) error {
		delete(f, name)
		return nil
	}, name)
}

// change changes the files of a complete seed, all of which are checked and in the new image before anything is changed.
func (s *Service) change(ctx context.Context, id volume.ID, by volume.Who, fn func(Files) error, name string) (State, error) {
	return s.edit(ctx, id, by, "cloudinit-edit", func(e *volume.Edit, st *State) error {
		if !st.Complete {
			return fault.Errorf(fault.VolumeNotExportable, "volume %s still waits for %d of its %d files", id, st.Expected-len(st.Files), st.Expected)
		}
		if err := e.Unused("its files can't be changed"); err != nil {
			return err
		}
		before := st.Files
		st.Files = maps.Clone(before)
		if err := fn(st.Files); err != nil {
			return err
		}
		st.bump(name)
		image, err := Image(st.Files)
		if err != nil {
			return err
		}
		if err := e.Room(st.changed(before) + int64(len(image))); err != nil {
			return err
		}
		if err := e.WriteFile(volume.SeedDir+pending, []byte(name)); err != nil {
			return err
		}
		err = st.store(e, before)
		if err == nil {
			err = e.SetImage(image)
		}
		if fault.KindOf(err) == fault.NoSpace { // the image is the old one
			undo := State{Files: before}
			if uerr := undo.store(e, st.Files); uerr != nil {
				return errors.Join(err, uerr)
			}
			return errors.Join(err, e.RemoveFile(volume.SeedDir+pending))
		}
		if err != nil {
			return err // what has been written of it counts: see resume
		}
		return e.RemoveFile(volume.SeedDir + pending)
	})
}

// changed is how many bytes store writes.
func (st *State) changed(before Files) (bytes int64) {
	for name, data := range st.Files {
		if old, there := before[name]; !there || string(old) != string(data) {
			bytes += int64(len(data))
		}
	}
	return bytes
}

// bump gives the machine another instance-id after a file was changed, unless that was meta-data itself.
func (st *State) bump(changed string) {
	if changed != MetaData && st.Files[MetaData] != nil {
		st.Files[MetaData] = st.Files.edit()
	}
}

// store removes the files that are gone, which makes room, and writes those that are others than before.
func (st *State) store(e *volume.Edit, before Files) error {
	for n := range before {
		if _, stays := st.Files[n]; stays {
			continue
		}
		if err := e.RemoveFile(volume.SeedDir + n); err != nil {
			return err
		}
	}
	for _, n := range st.Files.names() {
		if old, there := before[n]; there && bytes.Equal(old, st.Files[n]) {
			continue
		}
		if err := e.WriteFile(volume.SeedDir+n, st.Files[n]); err != nil {
			return err
		}
	}
	return nil
}

// resume ends a change that a crash or a failure cut off, by its file: what has been written of it counts. While the volume is exported the
// image stays as it is.
func (st *State) resume(e *volume.Edit) error {
	changed, err := e.ReadFile(volume.SeedDir + pending)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(e.Volume().Exports) > 0:
		return nil
	case err != nil:
		return err
	}
	before := maps.Clone(st.Files)
	st.bump(string(changed))
	image, err := Image(st.Files)
	if err == nil {
		err = st.store(e, before)
	}
	if err == nil {
		err = e.SetImage(image)
	}
	if err != nil {
		return err
	}
	return e.RemoveFile(volume.SeedDir + pending)
}

// Show returns a seed's files and state.
func (s *Service) Show(ctx context.Context, id volume.ID, by volume.Who) (State, error) {
	if _, err := s.volumes.Get(ctx, id, by); err != nil {
		return State{}, err
	}
	st, err := s.edit(ctx, id, nil, "read", func(e *volume.Edit, st *State) error {
		if st.Complete {
			return nil
		}
		err := st.build(e) // of a pool that came after Recover
		if fault.KindOf(err) == fault.NoSpace {
			return nil // it stays as it is
		}
		return err
	})
	if _, err := s.volumes.Get(ctx, id, by); err != nil {
		return State{}, err // it became private while its turn was waited for
	}
	return st, err
}

// Recover builds the images of seeds whose last file had come when the server ended. It is called before anything else.
func (s *Service) Recover(ctx context.Context) error {
	list := s.volumes.Find(func(v *volume.Volume) bool {
		return v.Meta.CloudInit && v.Meta.Format == volume.ISO && v.Meta.Size == 0
	})
	for i := range list {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		id := list[i].ID
		_, err := s.edit(ctx, id, nil, "cloudinit", func(e *volume.Edit, st *State) error {
			if st.Complete || len(st.Files) < st.Expected {
				return nil
			}
			return st.build(e)
		})
		if err != nil && !fault.Is(err, fault.CloudInitExpectedFilesTrackerNotFound) {
			s.log.Warn("seed not completed", slog.Any("volume", id), slog.Any("error", err))
		}
	}
	return nil
}

// build makes the image if all files are there.
func (st *State) build(e *volume.Edit) error {
	if len(st.Files) < st.Expected {
		return nil
	}
	image, err := Image(st.Files)
	if err != nil {
		return err
	}
	return e.SetImage(image)
}

// edit runs fn as the one operation on a seed, with its state, and returns the state afterwards.
func (s *Service) edit(ctx context.Context, id volume.ID, by volume.Who, purpose string, fn func(e *volume.Edit, st *State) error) (st State, err error) {
	err = s.volumes.Edit(ctx, id, by, purpose, func(_ context.Context, e *volume.Edit) error {
		var err error
		if st, err = load(e); err != nil {
			return err
		}
		if st.Complete {
			if err := st.resume(e); err != nil {
				return err
			}
		}
		if err := fn(e, &st); err != nil {
			return err
		}
		st.seen(e)
		return nil
	})
	return st, err
}

// seen takes in what the volume is now.
func (st *State) seen(e *volume.Edit) {
	st.Volume = e.Volume()
	st.Complete = st.Volume.Meta.Size > 0
	if st.Complete {
		st.Instance = InstanceID(st.Files.complete()[MetaData])
	}
}

// load reads a seed's state from its files.
func load(e *volume.Edit) (State, error) {
	st := State{Files: Files{}}
	names, err := e.Files()
	if err != nil {
		return st, err
	}
	var trackers []int
	for _, name := range names {
		name, seed := strings.CutPrefix(name, volume.SeedDir)
		if !seed {
			continue
		}
		if n, ok := parseTracker(name); ok {
			trackers = append(trackers, n)
			continue
		}
		if CheckName(name) != nil {
			continue // somebody else's
		}
		if st.Files[name], err = e.ReadFile(volume.SeedDir + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return st, err
		}
	}
	v := e.Volume()
	if !v.Meta.CloudInit || v.Meta.Format != volume.ISO || len(trackers) == 0 {
		return st, fault.Errorf(fault.CloudInitExpectedFilesTrackerNotFound, "volume %s is no cloud-init seed: it has no file elemento.<n>.expected", v.ID)
	}
	st.Expected = slices.Max(trackers)
	st.seen(e)
	return st, nil
}

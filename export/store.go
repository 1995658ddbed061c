package export

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"elstore/volume"
	"elstore/volume/durable"
	"elstore/volume/fault"
)

// bookName is the Book's file in volume.RecordsDir.
const bookName = "exports"

// Store is the records of one volume: small JSON files that are replaced whole. Its methods may be called at the same time
// for different names.
type Store struct {
	dir  *os.Root // the volume's
	step func(op, name string) error
}

// Load returns a record, or nil where there is none.
func (s *Store) Load(name string, limit int64) ([]byte, error) {
	f, err := s.dir.Open(path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.FromOS("read the volume's export records", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("the record %s has over %d bytes", name, limit)
	}
	return data, fault.FromOS("read the volume's export records", err)
}

// Save replaces a record. It is on stable storage when nil is returned.
func (s *Store) Save(name string, data []byte) error {
	if err := s.ask("save", name); err != nil {
		return err
	}
	err := durable.WriteFile(s.dir, path(name), data, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.dir.Mkdir(volume.RecordsDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			if err = durable.SyncDir(s.dir, "."); err == nil {
				err = durable.WriteFile(s.dir, path(name), data, 0o600)
			}
		}
	}
	if err != nil {
		return fault.FromOS("write the volume's export records", err)
	}
	return s.ask("saved", name)
}

// Remove removes a record, which may be absent.
func (s *Store) Remove(name string) error {
	if err := s.ask("remove", name); err != nil {
		return err
	}
	if _, err := s.dir.Lstat(path(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := durable.Remove(s.dir, path(name)); err != nil {
		return err
	}
	return s.ask("removed", name)
}

// names returns the names of the records that begin with prefix.
func (s *Store) names(prefix string) ([]string, error) {
	files, err := s.files()
	var names []string
	for _, file := range files {
		if name, ok := strings.CutSuffix(file, suffix); ok && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, err
}

// files lists what lies in volume.RecordsDir, which may be absent.
func (s *Store) files() ([]string, error) {
	d, err := s.dir.Open(volume.RecordsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.FromOS("look at the volume's export records", err)
	}
	defer d.Close()
	files, err := d.Readdirnames(-1)
	return files, fault.FromOS("look at the volume's export records", err)
}

// sweep removes what a crash left of writing.
func (s *Store) sweep() error {
	files, err := s.files()
	for _, name := range files {
		if err == nil && strings.HasPrefix(name, durable.TempPrefix) {
			err = s.dir.Remove(volume.RecordsDir + "/" + name)
		}
	}
	return fault.FromOS("look at the volume's export records", err)
}

// ask asks a test's step, before and after what counts. Its error is what the change fails with.
func (s *Store) ask(op, name string) error {
	if s.step == nil {
		return nil
	}
	return s.step(op, name)
}

// saveBook replaces the volume's Book. One without attachments needs no file.
func (s *Store) saveBook(b *Book) error {
	if len(b.Attachments) == 0 {
		return s.Remove(bookName)
	}
	return s.Save(bookName, b.encode())
}

// suffix ends the name of a record's file.
const suffix = ".json"

func path(name string) string { return volume.RecordsDir + "/" + name + suffix }

// readBook reads the volume's Book. One that is not there is empty, and nobody's.
func (s *Store) readBook(id volume.ID) (Book, error) {
	data, err := s.Load(bookName, maxBook)
	if err != nil || data == nil {
		return Book{}, err
	}
	b, err := parseBook(data)
	if err != nil {
		return Book{}, fault.Errorf(fault.VolumeDamaged,
			"the export records of volume %s can't be read (%s/%s.json: %v); nobody is let in before they are mended or removed",
			id, volume.RecordsDir, bookName, err)
	}
	return b, nil
}

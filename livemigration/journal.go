package livemigration

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"elstore/volume"
	"elstore/volume/durable"
	"elstore/volume/fault"
)

// journalDir is the journal's directory in the server's state.
const journalDir = "migrations"

// journal keeps the records of migrations, a file for each. It is used for one migration by one goroutine at a time.
type journal struct {
	root *os.Root
	step func(op string, r *Record) error // asked before and after each write; tests only
}

func fileOf(id volume.ID) string { return journalDir + "/" + id.String() + ".json" }

// save replaces a record. It is on stable storage when nil is returned. With an error it may be there or not.
func (j *journal) save(r *Record) error {
	if err := j.ask("save", r); err != nil {
		return err
	}
	err := durable.WriteFile(j.root, fileOf(r.ID), r.encode(), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = j.root.Mkdir(journalDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			if err = durable.SyncDir(j.root, "."); err == nil {
				err = durable.WriteFile(j.root, fileOf(r.ID), r.encode(), 0o600)
			}
		}
	}
	if err != nil {
		return fault.FromState("write the journal of live migrations", err)
	}
	return j.ask("saved", r)
}

// remove forgets a record, which may be absent.
func (j *journal) remove(r *Record) error {
	if err := j.ask("remove", r); err != nil {
		return err
	}
	return fault.FromState("write the journal of live migrations", durable.Remove(j.root, fileOf(r.ID)))
}

func (j *journal) ask(op string, r *Record) error {
	if j.step == nil {
		return nil
	}
	return j.step(op, r)
}

// load returns all records, and of those that can't be read why.
func (j *journal) load() (records []Record, damaged map[string]error, err error) {
	d, err := j.root.Open(journalDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fault.FromState("read the journal of live migrations", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, nil, fault.FromState("read the journal of live migrations", err)
	}
	damaged = map[string]error{}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".json")
		if !ok || strings.HasPrefix(name, durable.TempPrefix) {
			continue
		}
		r, err := j.read(journalDir + "/" + name)
		if err == nil && r.ID.String() != id {
			err = errors.New("it is of another migration than its name says")
		}
		if err != nil {
			damaged[name] = err
			continue
		}
		records = append(records, r)
	}
	return records, damaged, nil
}

func (j *journal) read(name string) (Record, error) {
	f, err := j.root.Open(name)
	if err != nil {
		return Record{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return Record{}, err
	}
	return parseRecord(data)
}

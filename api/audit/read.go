package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"elstore/volume/fault"
)

// Query selects entries. Zero values select all.
type Query struct {
	Who     string // name, identity or id of the token
	About   string // an id
	Since   time.Time
	Refused bool // only what was refused or failed
	Limit   int  // at most so many, the newest
}

func (q *Query) wants(e *Entry) bool {
	return (q.Who == "" || q.Who == e.Who || q.Who == e.Identity || q.Who == e.Token) &&
		(q.About == "" || slices.Contains(e.About, q.About)) && !e.Time.Before(q.Since) && (!q.Refused || e.Status >= 400)
}

// Read returns the entries that q selects, the newest first.
func (l *Log) Read(q Query) (list []Entry, err error) {
	files, err := l.files()
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
		if err != nil {
			err = fault.FromState("the audit log can't be read", err)
		}
	}()
	list = []Entry{}
	for _, f := range files {
		text, rerr := io.ReadAll(f)
		if rerr != nil {
			return nil, rerr
		}
		var ok bool
		if list, ok = q.take(list, text); !ok {
			break
		}
	}
	return list, err
}

// files opens all files, the newest first, between two rotations.
func (l *Log) files() (files []*os.File, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.cfg.Files {
		f, err := l.cfg.Dir.Open(name(n))
		switch {
		case err == nil:
			files = append(files, f)
		case !errors.Is(err, fs.ErrNotExist):
			return files, err
		}
	}
	return files, nil
}

// take adds the entries of a file that are wanted, from its end on; ok is false when there are enough. Lines that are no
// entry, as a crash leaves them, are passed over.
func (q *Query) take(list []Entry, text []byte) (_ []Entry, ok bool) {
	for len(text) > 0 {
		text = bytes.TrimSuffix(text, []byte{'\n'})
		at := bytes.LastIndexByte(text, '\n') + 1
		var e Entry
		if json.Unmarshal(text[at:], &e) == nil && q.wants(&e) {
			list = append(list, e)
			if len(list) == q.Limit {
				return list, false
			}
		}
		text = text[:at]
	}
	return list, true
}

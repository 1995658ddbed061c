package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"elstore/volume/fault"
)

// Entry is one thing that somebody did, or tried to.
type Entry struct {
	Time      time.Time  `json:"at"`
	RequestID string     `json:"request_id"`
	Who       string     `json:"who"`                // the name of the token, or the certificate's subject
	Role      string     `json:"role"`               // "" where nobody is asked who he is
	Identity  string     `json:"identity,omitempty"` // of a reader or user
	Token     string     `json:"token_id,omitempty"`
	Remote    string     `json:"remote"`
	Method    string     `json:"method"`
	Route     string     `json:"route"`
	About     []string   `json:"about,omitempty"` // ids of volumes, jobs, tokens
	Status    int        `json:"status"`
	Code      fault.Code `json:"code,omitempty"` // of a refusal or failure
}

// The bounds of a Log.
const (
	defaultMaxBytes = 16 << 20
	defaultFiles    = 8
)

// Config says where the log is and how much of it is kept. Zero values are the defaults.
type Config struct {
	Dir      *os.Root // for it alone
	MaxBytes int64    // of a file; 0 is 16 MiB
	Files    int      // that are kept, the newest included; 0 is 8
}

// Log is the audit log. Its methods may be called at the same time.
type Log struct {
	cfg Config

	mu   sync.Mutex
	file *os.File
	size int64
}

// Open opens the log in cfg.Dir, which it makes there if need be. A line that a crash cut off stays behind as it is.
func Open(cfg Config) (*Log, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Files <= 0 {
		cfg.Files = defaultFiles
	}
	l := &Log{cfg: cfg}
	if err := l.open(); err != nil {
		return nil, fault.FromState("the audit log can't be opened", err)
	}
	return l, nil
}

// name is that of the n-th file, the newest being 0.
func name(n int) string {
	if n == 0 {
		return "audit.jsonl"
	}
	return fmt.Sprintf("audit.%d.jsonl", n)
}

func (l *Log) open() error {
	f, err := l.cfg.Dir.OpenFile(name(0), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return errors.Join(err, f.Close())
		}
		if last[0] != '\n' {
			n, err := f.Write([]byte{'\n'})
			if err != nil {
				return errors.Join(err, f.Close())
			}
			size += int64(n)
		}
	}
	l.file, l.size = f, size
	return nil
}

// Append writes e. An error is StateUnavailable, and e is not in the log.
func (l *Log) Append(e *Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(line); err != nil {
		return fault.FromState("the audit log can't be written", err)
	}
	return nil
}

func (l *Log) write(line []byte) error {
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(len(line)) > l.cfg.MaxBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if err != nil && n > 0 { // what there is no room for leaves no half of a line
		if terr := l.file.Truncate(l.size - int64(n)); terr == nil {
			l.size -= int64(n)
		}
	}
	return err
}

// rotate begins a new file.
func (l *Log) rotate() error {
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return err
	}
	for n := l.cfg.Files - 1; n > 0; n-- { // the last is replaced
		if err := l.cfg.Dir.Rename(name(n-1), name(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if l.cfg.Files == 1 {
		if err := l.cfg.Dir.Remove(name(0)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.open()
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

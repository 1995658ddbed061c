package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"elstore/export/iscsi/login"
	"elstore/volume"
	"elstore/volume/durable"
)

// state is the server's own directory, held for its life: who it is, and what it must remember.
type state struct {
	root     *os.Root
	lock     *flock.Flock
	serverID string
	revision int64 // more than any revision handed out before
}

const (
	idFile       = "server-id"
	revisionFile = "revision"
	secretFile   = "secret"

	lockWait  = 2 * time.Second
	lockRetry = 5 * time.Millisecond

	// revisionStep is more than the revisions that one run can hand out.
	revisionStep = 1 << 32
)

// openState takes the state directory, making it if need be. Another server that holds it is an error.
func openState(ctx context.Context, dir string) (_ *state, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW), flock.SetPermissions(0o600))
	// A process that was killed while it started a program leaves the lock to that for a moment.
	wait, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	got, err := lock.TryLockContext(wait, lockRetry)
	if err != nil && wait.Err() == nil {
		return nil, fmt.Errorf("state directory %s can't be locked: %w", dir, err)
	}
	if !got {
		return nil, fmt.Errorf("another elstore server uses the state directory %s; stop it, or give this one a directory of its own with --state", dir)
	}
	s := &state{lock: lock}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err = s.sweep(); err != nil {
		return nil, err
	}
	if s.serverID, err = s.identity(); err != nil {
		return nil, err
	}
	if s.revision, err = s.nextRevision(time.Now()); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *state) close() {
	if s.root != nil {
		_ = s.root.Close()
	}
	_ = s.lock.Close()
}

// sweep removes the temporary files that a process left which was killed: the directory is ours alone.
func (s *state) sweep() error {
	for _, pattern := range []string{durable.TempPrefix + "*", "*/" + durable.TempPrefix + "*"} {
		names, err := fs.Glob(s.root.FS(), pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := s.root.Remove(name); err != nil {
				return fmt.Errorf("state directory: %w", err)
			}
		}
	}
	return nil
}

// identity returns the server's id, made once.
func (s *state) identity() (string, error) {
	data, err := s.root.ReadFile(idFile)
	switch {
	case err == nil:
		id, perr := volume.ParseID(strings.TrimSpace(string(data)))
		if perr != nil {
			return "", fmt.Errorf("state directory: %s is damaged: %w", idFile, perr)
		}
		return id.String(), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("state directory: %w", err)
	}
	id := volume.NewID().String()
	return id, durable.WriteFile(s.root, idFile, []byte(id+"\n"), 0o600)
}

// secret returns what the server proves itself by, made once.
func (s *state) secret() (login.Secret, error) {
	data, err := s.root.ReadFile(secretFile)
	text := strings.TrimSpace(string(data))
	switch {
	case err == nil && len(text) < 52:
		return login.Secret{}, fmt.Errorf("state directory: %s is damaged; without it a new one is made, and NBD clients need new keys", secretFile)
	case err == nil:
		return login.NewSecret(text), nil
	case !errors.Is(err, fs.ErrNotExist):
		return login.Secret{}, fmt.Errorf("state directory: %w", err)
	}
	text = rand.Text() + rand.Text()
	return login.NewSecret(text), durable.WriteFile(s.root, secretFile, []byte(text+"\n"), 0o600)
}

// nextRevision returns a number above all those of earlier runs, also where the clock went back.
func (s *state) nextRevision(now time.Time) (int64, error) {
	var last int64
	data, err := s.root.ReadFile(revisionFile)
	switch {
	case err == nil:
		if last, err = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err != nil {
			return 0, fmt.Errorf("state directory: %s is damaged: %w", revisionFile, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("state directory: %w", err)
	}
	next := max(now.UnixMicro(), last+revisionStep)
	return next, durable.WriteFile(s.root, revisionFile, strconv.AppendInt(nil, next, 10), 0o600)
}

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := openState(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openState(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "--state") {
		t.Errorf("a second server: %v", err)
	}
	id, revision := s.serverID, s.revision
	s.close()
	left := filepath.Join(dir, "keys", ".tmp-x")
	if err := errors.Join(os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if s, err = openState(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if s.serverID != id || s.revision <= revision {
		t.Errorf("server %s after %s, revision %d after %d", s.serverID, id, s.revision, revision)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a killed process left is there: %v", err)
	}
	first, err := s.secret()
	if err != nil || len(first.Reveal()) < 52 {
		t.Errorf("a secret of %d bytes, %v", len(first.Reveal()), err)
	}
	if again, err := s.secret(); err != nil || !again.Equal(first) {
		t.Errorf("the secret is another one: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, secretFile), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := s.secret(); err == nil || !strings.Contains(err.Error(), secretFile) {
		t.Errorf("a damaged secret: %v", err)
	}
	// A clock that went back makes no revision smaller.
	if next, err := s.nextRevision(time.Unix(0, 0)); err != nil || next <= s.revision {
		t.Errorf("%d after %d, %v", next, s.revision, err)
	}
}

func TestStateThatIsDamaged(t *testing.T) {
	for _, file := range []string{idFile, revisionFile} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, file), []byte("rubbish"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openState(t.Context(), dir); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v", err)
			}
		})
	}
}

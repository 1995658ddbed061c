package rig

import (
	"syscall"
	"testing"
)

// Target is a running `elstore target`.
type Target struct {
	*process
	Portal string // host:port
	Name   string // of the target
	URL    string // of the LUN, as QEMU and libiscsi want it, without CHAP
}

// StartTarget serves an image with `elstore target`, on 127.0.0.1 unless args say where, and waits until it is ready.
// It is ended with the test.
func StartTarget(t testing.TB, args ...string) *Target {
	t.Helper()
	target := LaunchTarget(t, args...)
	if err := target.Ready(); err != nil {
		t.Fatal(err)
	}
	return target
}

// LaunchTarget starts a target and does not wait.
func LaunchTarget(t testing.TB, args ...string) *Target {
	t.Helper()
	listen := []string{"target", "--listen", "127.0.0.1:0"}
	for _, arg := range args {
		if arg == "--listen" {
			listen = listen[:1]
		}
	}
	return &Target{process: launch(t, append(listen, args...))}
}

// Ready waits until the target has written its ready file.
func (s *Target) Ready() error {
	ready, err := s.ready()
	if err != nil {
		return err
	}
	s.Portal, s.Name = ready.ISCSI[0], ready.Target
	s.URL = "iscsi://" + s.Portal + "/" + s.Name + "/0"
	return nil
}

// Resize tells the target to look at its image's size.
func (s *Target) Resize(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

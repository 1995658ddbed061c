// Package exports adds exports over iSCSI, NBD and SMB to the parts of a server that package rig assembles.
package exports

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/iscsi/login"
	"elstore/export/local"
	"elstore/export/lun"
	"elstore/export/network"
	"elstore/export/samba"
	"elstore/livemigration"
	"elstore/test/rig"
	"elstore/volume"
)

// Serve exports the volumes of p over iSCSI, NBD, and SMB where the machine has what that needs, on ports of their own, until the
// test ends. server is the server's id, "" a new one.
func Serve(t testing.TB, p *rig.Parts, server string) *export.Service {
	t.Helper()
	target, err := iscsi.New(iscsi.Config{})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	kind, err := lun.New(lun.Config{Server: target, Portals: []string{l.Addr().String()}})
	must(t, err)
	nbds, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	overNBD, err := network.New(network.Config{
		Dir: filepath.Join(p.State.Name(), "nbds"), Portals: []string{nbds.Addr().String()}, Secret: login.NewSecret("a secret of a test's server"),
	})
	must(t, err)
	locals, err := local.New(local.Config{Dir: filepath.Join(p.State.Name(), "nbd")})
	must(t, err)
	smb, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	shares, err := samba.New(samba.Config{Listener: smb, Portals: []string{smb.Addr().String()}})
	must(t, err)
	if server == "" {
		server = volume.NewID().String()
	}
	s, err := export.New(export.Config{
		Volumes: p.Volumes, Events: p.Events, Log: slog.New(slog.DiscardHandler), ServerID: server, Kinds: []export.Kind{kind, overNBD, locals, shares},
	})
	must(t, err)
	p.Exported = s.Recorded
	served := make(chan error, 1)
	go func() { served <- target.Serve(l) }()
	heard := make(chan error, 1)
	go func() { heard <- overNBD.Listen(nbds) }()
	t.Cleanup(func() {
		must(t, target.Close()) // without waiting for initiators to log out
		must(t, s.Close(context.Background()))
		if err := <-served; !errors.Is(err, iscsi.ErrClosed) {
			t.Error(err)
		}
		if err := <-heard; !errors.Is(err, network.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// Migrate keeps the live migrations of what s exports.
func Migrate(t testing.TB, p *rig.Parts, s *export.Service) *livemigration.Service {
	t.Helper()
	m, err := livemigration.New(livemigration.Config{Exports: s, Events: p.Events, Log: slog.New(slog.DiscardHandler), State: p.State})
	must(t, err)
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

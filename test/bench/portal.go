package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"elstore/export/iscsi"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
	"elstore/pool"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/qemu"
)

// portalCommand is the first argument of a bench that is the target under measurement, in a process of its own.
const portalCommand = "portal"

// targetPrefix is that of the targets' names; a volume's id follows.
const targetPrefix = "iqn.2004-10.cloud.elemento:bench:"

// portal opens every volume below a root and serves each as a target, until SIGTERM. It says where on its standard
// output.
func portal(args []string) (err error) {
	flags := flag.NewFlagSet(portalCommand, flag.ExitOnError)
	root := flags.String("root", "", "directory with the pools")
	profile := flags.String("profile", "", "file to write a profile of the processor to")
	_ = flags.Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	server, err := iscsi.New(iscsi.Config{})
	if err != nil {
		return err
	}
	volumes, closeVolumes, err := openVolumes(ctx, *root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeVolumes()) }()
	client, err := volume.ParseClient(owner)
	if err != nil {
		return err
	}
	for v, err := range volumes.Accessible(ctx, client, volume.Query{}) {
		if err != nil {
			return err
		}
		o, err := volumes.Open(ctx, v.ID, volume.Claim{Export: "bench"})
		if err != nil {
			return err
		}
		defer o.Close()
		var id scsi.ID
		if _, err := hex.Decode(id[:], []byte(v.ID.String())); err != nil {
			return err
		}
		unit, err := scsi.New(ctx, scsi.Config{Device: o, ID: id, Thin: true})
		if err != nil {
			return err
		}
		target, err := server.AddTarget(iscsi.TargetConfig{Name: pdu.Name(targetPrefix + v.ID.String()), Unit: unit, Device: o})
		if err != nil {
			return err
		}
		if _, err := target.Attach(iscsi.AttachmentConfig{Shared: true}); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	fmt.Println(l.Addr())
	select {
	case err = <-done:
	case <-ctx.Done():
	}
	return errors.Join(err, server.Close())
}

// openVolumes reads the pools below root.
func openVolumes(ctx context.Context, root string) (_ *volume.Service, closeAll func() error, err error) {
	log := slog.New(slog.DiscardHandler)
	opener, err := qemu.NewOpener(qemu.OpenerConfig{Dir: filepath.Dir(root)})
	if err != nil {
		return nil, nil, err
	}
	tool, err := qemu.New(qemu.Config{})
	if err != nil {
		return nil, nil, err
	}
	var volumes *volume.Service
	var backends []*file.Backend
	pools, err := pool.New(pool.Config{
		Root: root, ServerID: volume.NewID().String(), Log: log,
		Attach: func(ctx context.Context, p *pool.Pool) (volume.Caps, error) {
			b, err := file.Open(ctx, file.Config{Dir: p.Path(), Tool: tool, Opener: opener, Log: log})
			if err != nil {
				return volume.Caps{}, err
			}
			backends = append(backends, b)
			return b.Caps(), volumes.AddPool(ctx, p, b)
		},
		Detach: func(p *pool.Pool) { volumes.RemovePool(p.Name()) },
	})
	if err != nil {
		return nil, nil, err
	}
	volumes, err = volume.New(volume.Config{Pools: pools, Events: volume.NewEvents(1), Log: log})
	if err != nil {
		return nil, nil, err
	}
	return volumes, func() error {
		errs := []error{volumes.Close(), pools.Close()}
		for _, b := range backends {
			errs = append(errs, b.Close())
		}
		return errors.Join(errs...)
	}, pools.Rescan(ctx)
}

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"elstore/export/iscsi"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// targetPrefix begins the names of targets.
const targetPrefix = "iqn.2004-10.cloud.elemento:01:"

// stopTimeout is how long a target that was told to stop waits for initiators to log out and for what they began.
const stopTimeout = 30 * time.Second

// target is one image and the iSCSI server for it.
type target struct {
	o         targetOptions
	log       *slog.Logger
	image     *image
	store     *reservations // nil where there is none
	unit      *scsi.LogicalUnit
	server    *iscsi.Server
	name      pdu.Name
	listeners []net.Listener // until the server has them
	serving   sync.WaitGroup
}

// serveTarget serves an image until ctx ends.
func serveTarget(ctx context.Context, o targetOptions, out io.Writer, log *slog.Logger) (err error) {
	// From the beginning, since SIGHUP would end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	t := &target{o: o, log: log}
	defer func() { err = errors.Join(err, t.close()) }() //nolint:contextcheck // closing goes on when ctx has ended
	access, err := o.credentials()
	if err != nil {
		return err
	}
	public, err := t.listen(ctx)
	if err != nil {
		return err
	}
	if err := access.fit(public); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if err := t.assemble(ctx, access); err != nil {
		return err
	}
	return t.run(ctx, access, out, hangup)
}

// listen takes the addresses, and reports whether other machines can reach one.
func (t *target) listen(ctx context.Context) (public bool, err error) {
	var config net.ListenConfig
	for _, address := range t.o.listen {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return false, usagef("--listen %q is not of the form host:port, such as 127.0.0.1:3260", address)
		}
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return false, fmt.Errorf("--listen: %w", err)
		}
		t.listeners = append(t.listeners, l)
		bound, err := netip.ParseAddrPort(l.Addr().String())
		public = public || err != nil || !bound.Addr().Unmap().IsLoopback()
	}
	return public, nil
}

// assemble opens the image and makes the target of it.
func (t *target) assemble(ctx context.Context, access credentials) (err error) {
	if t.image, err = openImage(ctx, t.o, t.log); err != nil {
		return err
	}
	cfg := t.o.shape()
	cfg.Device, cfg.ID, cfg.Log = t.image.Device, t.image.id, t.log
	if t.image.path != "" && t.o.writable() {
		if t.store, err = openReservations(t.image.path); err != nil {
			return err
		}
		cfg.Reservations = t.store
	}
	if t.unit, err = scsi.New(ctx, cfg); err != nil {
		return err
	}
	if t.server, err = iscsi.New(iscsi.Config{Log: t.log}); err != nil {
		return err
	}
	if t.name, err = pdu.ParseName(targetPrefix + hex.EncodeToString(t.image.id[:])); err != nil {
		return err
	}
	served, err := t.server.AddTarget(iscsi.TargetConfig{Name: t.name, Unit: t.unit, Device: t.image.Device})
	if err != nil {
		return err
	}
	_, err = served.Attach(access.attachment())
	return err
}

// run serves until ctx ends or a portal fails.
func (t *target) run(ctx context.Context, access credentials, out io.Writer, hangup <-chan os.Signal) (err error) {
	addresses := make([]string, len(t.listeners))
	for i, l := range t.listeners {
		addresses[i] = l.Addr().String()
	}
	t.log.Info("elstore target starts", slog.Any("iscsi", addresses), slog.String("target", string(t.name)),
		slog.Int64("size", t.image.Size()), slog.String("version", version), slog.Int("pid", os.Getpid()))
	failed := make(chan error, len(t.listeners))
	for _, l := range t.listeners {
		t.serving.Go(func() { failed <- t.server.Serve(l) }) //nolint:contextcheck // sessions end with the server, not with ctx
	}
	t.listeners = nil // they are the server's
	if err := attachHelp(out, addresses, t.name, access); err != nil {
		return err
	}
	ready := map[string]any{"iscsi": addresses, "target": t.name, "pid": os.Getpid()}
	if err := writeReady(t.o.readyFile, ready); err != nil {
		return fmt.Errorf("--ready-file: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			t.log.Info("stopping")
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return t.server.Shutdown(stop)
		case err := <-failed:
			return err
		case <-hangup:
			t.resize()
		}
	}
}

// resize takes up the size that the image's file has now.
func (t *target) resize() {
	size, grown, err := t.image.regrow(t.o)
	switch {
	case err != nil:
		t.log.Error("the size stays as it is", slog.Int64("size", t.image.Size()), slog.Any("error", err))
	case grown:
		t.unit.Resized(size)
		t.log.Info("the image has grown", slog.Int64("size", size))
	default:
		t.log.Info("the size is the same", slog.Int64("size", size))
	}
}

// close ends what was begun, in the opposite order.
func (t *target) close() error {
	var errs []error
	if t.server != nil {
		errs = append(errs, t.server.Close())
		t.serving.Wait()
	}
	for _, l := range t.listeners {
		errs = append(errs, l.Close())
	}
	if t.unit != nil {
		t.unit.Close()
	}
	if t.store != nil {
		t.store.close()
	}
	if t.image != nil {
		errs = append(errs, t.image.Close())
	}
	return errors.Join(errs...)
}

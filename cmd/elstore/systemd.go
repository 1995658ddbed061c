package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"elstore/api"
)

// The names of sockets that systemd may hand over; systemd.socket(5), FileDescriptorName=.
const (
	apiSocket   = "api"
	iscsiSocket = "iscsi"
)

// inherited are the listening sockets that systemd handed over, by name. While the server is restarted systemd keeps them, so that
// who connects meanwhile waits and is not refused.
type inherited map[string][]net.Listener

// inherit takes the sockets, none where the server was started by somebody else.
func inherit() (inherited, error) {
	given, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets of systemd: %w", err)
	}
	var errs []error
	for name, list := range given {
		if name != apiSocket && name != iscsiSocket {
			errs = append(errs, fmt.Errorf("systemd handed over a socket named %q; FileDescriptorName= may be %s or %s", name, apiSocket, iscsiSocket))
		}
		for _, l := range list {
			if l == nil {
				errs = append(errs, fmt.Errorf("systemd handed over a socket named %q that nobody can connect to", name))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, inherited(given).close())
	}
	return given, nil
}

func (i inherited) close() error {
	var errs []error
	for _, list := range i {
		for _, l := range list {
			if l != nil {
				errs = append(errs, l.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// listenAPI listens for the API, on what was inherited where there is that.
func (i inherited) listenAPI(ctx context.Context, open bool, address string) ([]net.Listener, error) {
	list := i[apiSocket]
	if len(list) == 0 {
		return api.Listen(ctx, open, address)
	}
	return list, api.Adopt(open, list...)
}

// supervised tells systemd that the server is ready, and then, if it wants to know, that it lives: that its locks can be had. A server
// that hangs is so restarted. It returns when ctx ends, having said that the server stops.
func (s *server) supervised(ctx context.Context, status string) {
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			s.log.Warn("systemd not told", slog.String("state", state), slog.Any("error", err))
		}
	}
	tell(daemon.SdNotifyReady + "\nSTATUS=" + status)
	defer tell(daemon.SdNotifyStopping)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("watchdog not understood", slog.Any("error", err))
	}
	if interval <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.volumes.Census()
			s.exports.Totals()
			tell(daemon.SdNotifyWatchdog)
		}
	}
}

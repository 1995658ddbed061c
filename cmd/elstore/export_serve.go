package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/local"
	"elstore/export/lun"
	"elstore/export/network"
	"elstore/export/samba"
)

// listenISCSI takes the addresses of the iSCSI portals: those that listen already, else what the options say.
func listenISCSI(ctx context.Context, o options, given []net.Listener) (list []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range list {
				_ = l.Close()
			}
		}
	}()
	list = append(list, given...)
	for _, address := range o.iscsiListen {
		if len(given) > 0 {
			break
		}
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return list, fmt.Errorf("--iscsi-listen: %w", err)
		}
		list = append(list, l)
	}
	for _, l := range list {
		tcp, ok := l.Addr().(*net.TCPAddr)
		if o.iscsiNoCHAP && !o.insecure && (!ok || !tcp.IP.IsLoopback()) {
			return list, fmt.Errorf("--iscsi-listen %s is not a loopback address and needs CHAP: leave out --iscsi-no-chap, or say --insecure if nobody else can reach it", l.Addr())
		}
	}
	if len(list) == 0 {
		return nil, errors.New("--iscsi-listen: there must be one address at least")
	}
	return list, nil
}

// listenNBD takes the addresses of exports over NBD. Nobody gets in there without a key, so that they may be anybody's to reach.
func listenNBD(ctx context.Context, o options) (list []net.Listener, err error) {
	for _, address := range o.nbdListen {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range list {
				_ = l.Close()
			}
			return nil, fmt.Errorf("--nbd-listen: %w", err)
		}
		list = append(list, l)
	}
	return list, nil
}

// newNetwork makes the kind of exports over NBD.
func (s *server) newNetwork(o options) (err error) {
	cfg := network.Config{Dir: filepath.Join(o.state, "nbds"), Log: s.log}
	if len(s.nbds) > 0 {
		addresses := make([]net.Addr, len(s.nbds))
		for i, l := range s.nbds {
			addresses[i] = l.Addr()
		}
		if cfg.Portals, err = lun.Portals(addresses, nil); err != nil {
			return fmt.Errorf("--nbd-listen: %w", err)
		}
	}
	if cfg.Secret, err = s.state.secret(); err != nil {
		return err
	}
	s.network, err = network.New(cfg)
	return err
}

// listenSamba takes the address of exports over SMB, nil where there are to be none, and no listener where the machine's own smbd has
// it.
func listenSamba(ctx context.Context, o options) (net.Addr, net.Listener, error) {
	if o.sambaListen == "" && o.sambaConf != "" {
		o.sambaListen = ":445"
	}
	if o.sambaListen == "" {
		if o.sambaGuests {
			return nil, nil, errors.New("--samba-guests: there are exports over SMB with --samba-listen or --samba-conf only")
		}
		return nil, nil, nil
	}
	var l net.Listener
	var at net.Addr
	var err error
	if o.sambaConf != "" {
		at, err = parsePort(o.sambaListen)
	} else {
		var config net.ListenConfig
		if l, err = config.Listen(ctx, "tcp", o.sambaListen); err == nil {
			at = l.Addr()
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("--samba-listen: %w", err)
	}
	if tcp, ok := at.(*net.TCPAddr); o.sambaGuests && !o.insecure && (!ok || !tcp.IP.IsLoopback()) {
		if l != nil {
			_ = l.Close()
		}
		return nil, nil, fmt.Errorf("--samba-listen %s is not a loopback address and asks guests for no password: leave out --samba-guests, or say --insecure", o.sambaListen)
	}
	return at, l, nil
}

// parsePort reads an address that somebody else listens on; without a host it is all of them.
func parsePort(address string) (*net.TCPAddr, error) {
	host, _, err := net.SplitHostPort(address)
	if err == nil && host == "" {
		address = "[::]" + address
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || at.Port() == 0 {
		return nil, fmt.Errorf("%q is not where the machine's smbd listens, as 192.0.2.1:445 or :445", address)
	}
	return net.TCPAddrFromAddrPort(at), nil
}

// newSamba makes the kind of exports over SMB.
func (s *server) newSamba(o options) (*samba.Kind, error) {
	cfg := samba.Config{Listener: s.smbListener, Guests: o.sambaGuests, Log: s.log}
	if s.smb != nil {
		var err error
		if cfg.Portals, err = lun.Portals([]net.Addr{s.smb}, nil); err != nil {
			return nil, fmt.Errorf("--samba-listen: %w", err)
		}
	}
	if o.sambaConf != "" {
		conf, err := filepath.Abs(o.sambaConf)
		if err != nil {
			return nil, err
		}
		at := s.smb.(*net.TCPAddr) //nolint:forcetypeassert // as listenSamba made it
		cfg.System = &samba.System{Conf: conf, Dir: filepath.Join(sambaDir, s.state.serverID), Mark: "elstore " + s.state.serverID, Port: at.Port}
	}
	return samba.New(cfg)
}

// sambaDir is where the machine's smbd finds our files, below directories that let its users through.
const sambaDir = "/run/elstore-samba"

// newExports makes the kinds of exports, and what keeps them. A new kind is a line here.
func (s *server) newExports(o options) (err error) {
	s.target, err = iscsi.New(iscsi.Config{Advertise: o.iscsiAdvertise, Log: s.log})
	if err != nil {
		return err
	}
	addresses := make([]net.Addr, len(s.portals))
	for i, l := range s.portals {
		addresses[i] = l.Addr()
	}
	portals, err := lun.Portals(addresses, o.iscsiAdvertise)
	if err != nil {
		return fmt.Errorf("--iscsi-advertise: %w", err)
	}
	luns, err := lun.New(lun.Config{Server: s.target, Portals: portals, NoCHAP: o.iscsiNoCHAP, Log: s.log})
	if err != nil {
		return err
	}
	locals, err := local.New(local.Config{Dir: filepath.Join(o.state, "nbd"), Log: s.log})
	if err != nil {
		return err
	}
	if err := s.newNetwork(o); err != nil {
		return err
	}
	shares, err := s.newSamba(o)
	if err != nil {
		return err
	}
	s.exports, err = export.New(export.Config{
		Volumes: s.volumes, Events: s.events, Log: s.log, ServerID: s.state.serverID, Shared: s.shared, LockWait: o.lockWait,
		Kinds: []export.Kind{luns, locals, s.network, shares},
	})
	return err
}

// shared reports whether several servers use a pool.
func (s *server) shared(name string) bool {
	for _, i := range s.pools.Infos() {
		if i.Name == name {
			return i.Shared
		}
	}
	return false
}

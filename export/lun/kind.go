package lun

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
	"elstore/volume"
	"elstore/volume/fault"
)

// Config is how volumes are exported over iSCSI.
type Config struct {
	Server *iscsi.Server
	// Portals has where initiators reach the Server, as host:port with IPv6 in brackets.
	Portals []string
	// NoCHAP lets initiators in by their name alone, which they can make up. It is for closed networks.
	NoCHAP bool
	Log    *slog.Logger // nil logs nothing
}

// Kind is the export kind iscsi.
type Kind struct {
	cfg    Config
	bootID string
}

var _ export.Kind = (*Kind)(nil)

// New returns the kind. It serves on whatever listeners the Server has.
func New(cfg Config) (*Kind, error) {
	if cfg.Server == nil || len(cfg.Portals) == 0 {
		return nil, errors.New("lun: Config needs Server and Portals")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("reservations can't be kept without the boot id: %w", err)
	}
	return &Kind{cfg: cfg, bootID: string(boot)}, nil
}

// Name implements export.Kind.
func (k *Kind) Name() string { return "iscsi" }

// Where implements export.Kind.
func (k *Kind) Where() []string { return k.cfg.Portals }

// Complete implements export.Kind.
func (k *Kind) Complete(_ *volume.Volume, q *export.Request, r *export.Record) error {
	for _, p := range q.Portals {
		if !slices.Contains(k.cfg.Portals, p) {
			return fault.Errorf(fault.BadRequest, "'portals' has %.80q, which is none of this server's; those are %q", p, k.cfg.Portals)
		}
	}
	if q.Path {
		return fault.Errorf(fault.BadRequest, "'path' is for exports of type local")
	}
	var initiator pdu.Name
	if q.Initiator != "" {
		var err error
		if initiator, err = pdu.ParseName(q.Initiator); err != nil {
			return fault.Errorf(fault.BadRequest, "'initiator' is %.240q; allowed is the name of an iSCSI initiator: %w", q.Initiator, err)
		}
		q.Initiator = string(initiator) // as it is compared
	}
	if r == nil {
		return nil
	}
	if k.cfg.NoCHAP {
		if r.Initiator == "" && initiator == "" {
			return fault.Errorf(fault.BadRequest, "request was badly formatted. 'initiator'")
		}
	} else {
		if r.User == "" {
			id := volume.NewID().String()
			r.User, r.PeerUser = id, "elstore-"+id[:8]
		}
		r.Secret, r.PeerSecret = newSecret(), newSecret()
	}
	if initiator != "" {
		r.Initiator = string(initiator)
	}
	return nil
}

// newSecret makes a CHAP secret of 96 bits, as many as section 9.2.1 asks for, in 16 characters, as many as every initiator takes.
func newSecret() login.Secret {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return login.NewSecret(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Serve implements export.Kind.
func (k *Kind) Serve(ctx context.Context, m export.Medium) (export.Unit, error) {
	meta := m.Volume.Meta
	u := &unit{kind: k, id: m.Volume.ID, bus: string(meta.Bus), many: meta.Shareable || meta.ReadOnly, device: m.Device, targets: map[string]*target{}, owners: map[nexus]volume.ID{}}
	u.kept = &reservations{records: m.Records, bootID: k.bootID, owner: u.owner}
	cd := meta.Format == volume.ISO
	var err error
	u.lu, err = scsi.New(ctx, scsi.Config{
		Device: m.Device, ID: identity(m.Volume.ID), ReadOnly: meta.ReadOnly, CDROM: cd, Thin: !cd, Reservations: u.kept, Log: m.Log,
	})
	if err != nil {
		return nil, fault.Errorf(fault.VolumeDamaged, "volume %s can't be served over iSCSI: %w", m.Volume.ID, err)
	}
	for _, o := range u.kept.loaded {
		u.owners[nexus{o.Initiator, o.Port}] = o.Attachment
	}
	// A crash may have come between the end of an attachment and that of its registrations.
	err = u.lu.Fence(ctx, func(r scsi.Registration) bool {
		owner, known := u.owner(r)
		return known && !slices.Contains(m.Attachments, owner)
	})
	return u, err
}

// identity makes serial number and world wide name of the volume's id alone, so that they outlive everything else.
func identity(id volume.ID) (out scsi.ID) {
	_, _ = hex.Decode(out[:], []byte(id.String())) // it is 32 hexadecimal digits
	return out
}

// Stop implements export.Kind.
func (k *Kind) Stop(ctx context.Context) error { return k.cfg.Server.Shutdown(ctx) }

// Portals returns where initiators reach listeners, as far as that is known here: what is advertised, or else the addresses, and
// for a wildcard those of the machine's interfaces.
func Portals(listeners []net.Addr, advertised []string) ([]string, error) {
	if len(advertised) > 0 {
		for _, p := range advertised {
			if host, port, err := net.SplitHostPort(p); err != nil || host == "" || port == "" {
				return nil, fmt.Errorf("%q is not host:port", p)
			}
		}
		return advertised, nil
	}
	var list []string
	for _, l := range listeners {
		tcp, ok := l.(*net.TCPAddr)
		if !ok || !tcp.IP.IsUnspecified() {
			list = append(list, l.String())
			continue
		}
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return nil, fmt.Errorf("find this machine's addresses: %w", err)
		}
		for _, a := range addrs {
			ip, ok := a.(*net.IPNet)
			if !ok || ip.IP.IsLoopback() || ip.IP.IsLinkLocalUnicast() {
				continue
			}
			list = append(list, net.JoinHostPort(ip.IP.String(), fmt.Sprint(tcp.Port)))
		}
		if len(list) == 0 { // a machine with loopback alone
			list = append(list, net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port)))
		}
	}
	return list, nil
}

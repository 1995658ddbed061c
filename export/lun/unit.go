package lun

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
	"elstore/volume"
	"elstore/volume/fault"
)

// unit is a volume as a logical unit, with the targets that lead to it.
type unit struct {
	kind   *Kind
	id     volume.ID
	bus    string // how a machine is to see it
	many   bool   // several clients may have it
	device export.Device
	lu     *scsi.LogicalUnit
	kept   *reservations

	mu      sync.Mutex
	targets map[string]*target
	owed    []func(scsi.Registration) bool // registrations of who has ended, to be preempted before anybody is let in

	ports  sync.Mutex          // never held across a call
	owners map[nexus]volume.ID // the attachments through which initiator ports came
}

// nexus is an initiator port and a target port.
type nexus struct{ initiator, port string }

// target is one client's, with its attachments. Guarded by unit.mu.
type target struct {
	*iscsi.Target
	attached map[volume.ID]*attached
	limiter  *iscsi.Limiter
	rates    iscsi.Rates
}

// Attach implements export.Unit.
func (u *unit) Attach(ctx context.Context, r export.Record, rates export.Rates, g *export.Gate, w export.Watch) (export.Attached, error) {
	if r.User == "" && !u.kind.cfg.NoCHAP {
		return nil, fault.Errorf(fault.VolumeNotExportable,
			"client %s's export of volume %s was made without CHAP, which this server asks for; export it again with \"rotate\": true, or start the server with --iscsi-no-chap",
			r.Client, u.id)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.owed) > 0 {
		if err := u.lu.Fence(ctx, u.owed[0]); err != nil {
			return nil, fmt.Errorf("preempt the registrations of an export that has ended: %w", err)
		}
		u.owed = u.owed[1:]
	}
	t, err := u.target(r)
	if err != nil {
		return nil, err
	}
	a := &attached{unit: u, target: t, id: r.ID, rec: r, watch: w, counters: &scsi.Stats{}}
	if err := t.limit(rates); err != nil {
		return nil, errors.Join(err, u.drop(ctx, t))
	}
	a.Attachment, err = t.Attach(iscsi.AttachmentConfig{
		CHAPName: r.User, Secret: r.Secret, MutualName: r.PeerUser, MutualSecret: r.PeerSecret,
		Initiator: pdu.Name(r.Initiator), ReadOnly: r.ReadOnly, Shared: u.many, Multipath: r.Multipath,
		CopyGroup: copyGroup(&r), Gate: g, Counters: a.counters, Notify: a.notify,
	})
	if err != nil {
		return nil, errors.Join(taken(err), u.drop(ctx, t))
	}
	t.attached[r.ID] = a
	return a, nil
}

// copyGroup is what volumes may be copied to each other by who has both: one client, for one initiator that the exports name. Where they
// name none, any machine of the client could say that it is the one that has the other volume.
func copyGroup(r *export.Record) string {
	if r.Initiator == "" {
		return ""
	}
	return r.Client.String() + " " + r.Initiator
}

// taken classifies an error of the server: a name that is in use is the caller's to change.
func taken(err error) error {
	if errors.Is(err, iscsi.ErrExists) {
		return fault.New(fault.TargetNameTaken, "export over iSCSI", err)
	}
	return err
}

// target returns the client's target, which it makes if need be. u.mu is held.
func (u *unit) target(r export.Record) (*target, error) {
	name := export.Name(r.Client, u.id)
	if t := u.targets[name]; t != nil {
		return t, nil
	}
	limiter, err := iscsi.NewLimiter(iscsi.Rates{})
	if err != nil {
		return nil, err
	}
	t, err := u.kind.cfg.Server.AddTarget(iscsi.TargetConfig{
		Name: pdu.Name(name), Alias: u.id.String(), Unit: u.lu, Device: u.device, PortID: r.Port, Limiter: limiter,
	})
	if err != nil {
		return nil, taken(err)
	}
	u.targets[name] = &target{Target: t, attached: map[volume.ID]*attached{}, limiter: limiter}
	return u.targets[name], nil
}

// empty reports whether no attachment is left. u.mu is held.
func (u *unit) empty() bool {
	for _, t := range u.targets {
		if len(t.attached) > 0 {
			return false
		}
	}
	return true
}

// drop removes a target that has no attachments. u.mu is held.
func (u *unit) drop(ctx context.Context, t *target) error {
	if len(t.attached) > 0 {
		return nil
	}
	delete(u.targets, string(t.Name()))
	u.lu.RemovePort(iscsi.PortName(t.Name()))
	return t.Remove(ctx)
}

// limit sets the rates, if they are others: what was let through before counts only while they stay.
func (t *target) limit(r export.Rates) error {
	var rates iscsi.Rates
	rates.ReadBytes, rates.WriteBytes, rates.ReadOperations, rates.WriteOperations = r.PerSecond()
	if rates == t.rates {
		return nil
	}
	t.rates = rates
	return t.limiter.Set(rates)
}

// owner returns the attachment that a registration belongs to, if that is known.
func (u *unit) owner(r scsi.Registration) (volume.ID, bool) {
	u.ports.Lock()
	defer u.ports.Unlock()
	id, ok := u.owners[nexus{r.Initiator, r.Port}]
	return id, ok
}

var _ export.Forgetter = (*unit)(nil)

// Forget implements export.Forgetter: the registrations go as PREEMPT would take them.
func (u *unit) Forget(ctx context.Context, attachment volume.ID) error {
	err := u.lu.Fence(ctx, func(r scsi.Registration) bool {
		owner, known := u.owner(r)
		return known && owner == attachment
	})
	if err != nil {
		return fmt.Errorf("preempt its registrations: %w", err)
	}
	return nil
}

// Resized implements export.Unit.
func (u *unit) Resized(size int64) { u.lu.Resized(size) }

// Close implements export.Unit.
func (u *unit) Close(ctx context.Context, forget bool) error {
	u.mu.Lock()
	targets := u.targets
	u.targets = map[string]*target{}
	u.mu.Unlock()
	var errs []error
	for _, t := range targets {
		errs = append(errs, t.Remove(ctx))
	}
	u.lu.Close()
	if forget {
		errs = append(errs, u.kept.forget())
	}
	return errors.Join(errs...)
}

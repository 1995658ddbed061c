package lun

import (
	"context"
	"fmt"

	"elstore/export"
	"elstore/export/iscsi"
	"elstore/export/scsi"
	"elstore/volume"
)

// attached is an attachment that stands.
type attached struct {
	*iscsi.Attachment
	unit     *unit
	target   *target
	id       volume.ID
	rec      export.Record // under unit.mu
	watch    export.Watch
	counters *scsi.Stats
}

// notify is called by the server.
func (a *attached) notify(s iscsi.SessionInfo, began bool) {
	at := nexus{s.Port, iscsi.PortName(a.target.Name())}
	if began {
		a.unit.came(at, a.id)
	} else {
		a.unit.went(at)
	}
	a.watch(session(s), began)
}

// came remembers through which attachment an initiator port came.
func (u *unit) came(at nexus, through volume.ID) {
	u.ports.Lock()
	defer u.ports.Unlock()
	u.owners[at] = through
}

// went forgets that, unless the port has registered.
func (u *unit) went(at nexus) {
	for _, r := range u.lu.Reservations().Registrations {
		if r.Initiator == at.initiator && r.Port == at.port {
			return
		}
	}
	u.ports.Lock()
	defer u.ports.Unlock()
	delete(u.owners, at)
}

func session(s iscsi.SessionInfo) export.Session {
	return export.Session{Initiator: s.Initiator, Alias: s.Alias, Name: s.ISID, Remote: s.Remote, Since: s.Since}
}

// Sessions implements export.Attached.
func (a *attached) Sessions() []export.Session {
	list := []export.Session{}
	for _, s := range a.Attachment.Sessions() {
		list = append(list, session(s))
	}
	return list
}

// Counts implements export.Attached.
func (a *attached) Counts() (c export.Counts) {
	for kind, into := range map[scsi.Kind]struct {
		operations, bytes *uint64
		latency           *export.Latency
	}{
		scsi.KindRead:   {&c.ReadOperations, &c.ReadBytes, &c.ReadLatency},
		scsi.KindVerify: {&c.ReadOperations, &c.ReadBytes, &c.ReadLatency},
		scsi.KindWrite:  {&c.WriteOperations, &c.WriteBytes, &c.WriteLatency},
		scsi.KindZero:   {&c.WriteOperations, &c.WriteBytes, &c.WriteLatency},
		scsi.KindCopy:   {&c.WriteOperations, &c.WriteBytes, &c.WriteLatency},
		scsi.KindFlush:  {operations: &c.OtherOperations},
		scsi.KindOther:  {operations: &c.OtherOperations},
	} {
		n := a.counters.Snapshot(kind)
		*into.operations += n.Operations
		if into.bytes != nil {
			*into.bytes += n.Bytes
			into.latency.Add(export.Latency{Buckets: n.Latency, Sum: n.Took})
		}
		c.Errors += n.Errors
	}
	return c
}

// Renew implements export.Attached.
func (a *attached) Renew(r export.Record, rates export.Rates) error {
	a.unit.mu.Lock()
	defer a.unit.mu.Unlock()
	if err := a.target.limit(rates); err != nil {
		return err
	}
	if !r.Secret.Equal(a.rec.Secret) {
		if err := a.SetSecrets(r.Secret, r.PeerSecret); err != nil {
			return err
		}
	}
	a.rec = r
	return nil
}

// Detach implements export.Attached.
func (a *attached) Detach(ctx context.Context) error {
	if err := a.end(ctx); err != nil {
		return err
	}
	u := a.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.drop(ctx, a.target)
}

// end is what Detach and Remove begin with. The target stays.
func (a *attached) end(ctx context.Context) error {
	if err := a.Attachment.Remove(ctx); err != nil {
		return err
	}
	a.unit.mu.Lock()
	defer a.unit.mu.Unlock()
	delete(a.target.attached, a.id)
	return nil
}

// Remove implements export.Attached.
func (a *attached) Remove(ctx context.Context) error {
	if err := a.end(ctx); err != nil {
		return err
	}
	u := a.unit
	port := iscsi.PortName(a.target.Name())
	u.mu.Lock()
	alone := len(a.target.attached) == 0
	last := u.empty()
	u.mu.Unlock()
	mine := func(r scsi.Registration) bool {
		if r.Port != port {
			return false
		}
		owner, known := u.owner(r)
		return alone || known && owner == a.id
	}
	if err := u.lu.Fence(ctx, mine); err != nil && last {
		// It may fail to be saved, as it does in a full pool: Close forgets all registrations, or else Serve preempts those of whoever
		// is not in the Book, or Attach does.
		u.mu.Lock()
		u.owed = append(u.owed, mine)
		u.mu.Unlock()
	} else if err != nil {
		return fmt.Errorf("preempt its registrations: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.drop(ctx, a.target)
}

package scsi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
)

// amendment is a change of the registry in the making: what it becomes, and who is told.
type amendment struct {
	*Reservations
	tell  map[nexusKey]attention
	abort []nexusKey // whose tasks PREEMPT AND ABORT aborts
}

// notify establishes a unit attention for a nexus, if it is there, when the change takes effect.
func (m *amendment) notify(n nexusKey, a attention) {
	if m.tell == nil {
		m.tell = make(map[nexusKey]attention)
	}
	m.tell[n] |= a
}

// notifyRegistered does so for every registered nexus but one.
func (m *amendment) notifyRegistered(but nexusKey, a attention) {
	for i := range m.Registrations {
		if n := m.Registrations[i].nexus(); n != but {
			m.notify(n, a)
		}
	}
}

// amend changes the registry: what change returns without an error is saved, then takes effect, then whoever
// it concerns is told, then tasks are aborted. Where it fails nothing has changed. An answer that is not good
// changes nothing; a change that says so neither.
func (lu *LogicalUnit) amend(ctx context.Context, change func(m *amendment) (changed bool, a answer)) (answer, error) {
	abort, a, err := lu.amendLocked(ctx, change)
	for _, n := range abort { // without the lock: an aborted task may wait for it
		n.cfg.Abort(ctx)
	}
	if err == nil && len(abort) > 0 {
		err = ctx.Err() // they were not all waited for
	}
	return a, err
}

func (lu *LogicalUnit) amendLocked(ctx context.Context, change func(m *amendment) (bool, answer)) ([]*Nexus, answer, error) {
	lu.change.Lock()
	defer lu.change.Unlock()
	if ctx.Err() != nil { // it waited, and was aborted meanwhile
		return nil, good, ctx.Err()
	}
	m := amendment{Reservations: lu.Reservations()}
	changed, a := change(&m)
	if a.status != StatusGood || !changed {
		return nil, a, nil
	}
	if lu.cfg.Reservations != nil {
		// A change that is half saved when the task is aborted would be neither here nor there.
		if err := lu.cfg.Reservations.Save(context.WithoutCancel(ctx), m.Reservations); err != nil {
			return nil, good, fmt.Errorf("save reservations: %w", err)
		}
	}
	var abort []*Nexus
	lu.mu.Lock()
	defer lu.mu.Unlock()
	lu.registry = m.Reservations
	lu.denyAll()
	for key, attention := range m.tell {
		if n := lu.nexuses[key]; n != nil {
			n.raise(attention)
		}
	}
	for _, key := range m.abort {
		if n := lu.nexuses[key]; n != nil && n.cfg.Abort != nil {
			abort = append(abort, n)
		}
	}
	return abort, good, nil
}

// amendAnswer is amend for a command.
func (lu *LogicalUnit) amendAnswer(ctx context.Context, change func(m *amendment) (bool, answer)) answer {
	a, err := lu.amend(ctx, change)
	switch {
	case err == nil:
		return a
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return aborted
	}
	lu.cfg.Log.Error("reservations not saved", slog.Any("error", err))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return illegal(InsufficientRegistrationStorage)
	}
	return check(HardwareError, InternalTargetFailure)
}

// Fence removes registrations as PREEMPT AND ABORT does: what their nexuses reserved is released, their tasks
// are aborted, the other registered nexuses get unit attentions. It changes nothing where it fails, but for
// tasks that it did not wait for because the context was done.
func (lu *LogicalUnit) Fence(ctx context.Context, match func(Registration) bool) error {
	_, err := lu.amend(ctx, func(m *amendment) (bool, answer) {
		before := m.Type
		removed := m.remove(match, true)
		if len(removed) == 0 {
			return false, good
		}
		m.Generation++
		if before != 0 && m.Type == 0 {
			m.notifyRegistered(nexusKey{}, attentionReservationsReleased)
		}
		return true, good
	})
	return err
}

// MoveRegistrations gives the registrations that match, and the reservation that one of them holds, to other nexuses, in turn: the
// holder's first. One that has a registration keeps its own. What is left when every nexus had one stays where it is. Nothing has
// changed where it fails.
func (lu *LogicalUnit) MoveRegistrations(ctx context.Context, match func(Registration) bool, to ...*Nexus) error {
	_, err := lu.amend(ctx, func(m *amendment) (bool, answer) {
		var from []nexusKey
		for i := range m.Registrations {
			g := m.Registrations[i]
			switch {
			case !match(g):
			case m.Holder != nil && m.Holder.nexus() == g.nexus():
				from = slices.Insert(from, 0, g.nexus())
			default:
				from = append(from, g.nexus())
			}
		}
		from = from[:min(len(from), len(to))]
		for i, n := range from {
			m.move(n, to[i])
		}
		return len(from) > 0, good
	})
	return err
}

// Replace makes the reservations what another target has kept of the medium since this unit was made.
func (lu *LogicalUnit) Replace(ctx context.Context, r *Reservations) error {
	if err := r.check(); err != nil {
		return err
	}
	_, err := lu.amend(ctx, func(m *amendment) (bool, answer) {
		m.Reservations = r.clone()
		return true, good
	})
	return err
}

// move gives one registration to a nexus.
func (m *amendment) move(from nexusKey, to *Nexus) {
	i := m.find(from)
	moved := m.Registrations[i]
	moved.Initiator, moved.Port, moved.PortID = to.cfg.Initiator, to.cfg.Port.Name, to.cfg.Port.ID
	if j := m.find(to.key); j >= 0 {
		moved = m.Registrations[j]
	} else {
		m.Registrations = append(m.Registrations, moved)
	}
	if m.Holder != nil && m.Holder.nexus() == from {
		m.Holder = &moved
	}
	m.Generation++
	m.drop(i)
}

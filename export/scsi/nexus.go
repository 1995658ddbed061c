package scsi

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Port is a SCSI target port through which a logical unit is reached.
type Port struct {
	Target string // SCSI target device name, for iSCSI the target's name
	Name   string // SCSI port name, for iSCSI the target's name, ",t,0x" and the portal group tag
	ID     uint16 // relative target port identifier; each port of a logical unit has its own, and 0 is reserved
}

// NexusConfig says who talks to a logical unit through which port.
type NexusConfig struct {
	// Initiator is the SCSI initiator port name, for iSCSI the initiator's name, ",i,0x" and the ISID in
	// twelve lower-case hexadecimal digits.
	Initiator string
	Port      Port
	ReadOnly  bool // this nexus may not change the medium

	// Abort aborts every task that this nexus has with the unit, and returns once none of them can change
	// the medium any more, or the context is done: two nexuses may abort each other. PREEMPT AND ABORT calls
	// it from another nexus' Execute, Fence from wherever that is called. Nil where a transport has no tasks
	// to abort.
	Abort func(ctx context.Context)

	Counters Counters // counts the commands of this nexus; nil counts nothing

	// CopyTarget finds the other end of an EXTENDED COPY: the nexus that this one's initiator has with the logical unit of the
	// designator (of VPD page 83h), or nil where it has none and so no right to the data. Without it copies stay within the unit.
	CopyTarget func(designator Designator) *Nexus
	// Visit lets a segment of a copy use the unit as a command of this nexus would, whichever nexus the EXTENDED COPY came through: a
	// KindRead, or a KindWrite, which changes the medium. The context that it returns is ctx, and ends with the tasks of this nexus
	// too; leave is called when the segment has ended, and Abort waits for that. False refuses. Nil lets everything pass.
	Visit func(ctx context.Context, kind Kind) (visit context.Context, leave func(), ok bool)
	// Pace waits until a copy may read or write so many bytes, or the context is done. Nil doesn't wait.
	Pace func(ctx context.Context, kind Kind, bytes int64) error
}

// nexusKey tells nexuses apart, for reservations too.
type nexusKey struct{ initiator, port string }

// Nexus is an I_T nexus with one logical unit.
type Nexus struct {
	unit *LogicalUnit
	cfg  NexusConfig
	key  nexusKey

	pending atomic.Uint32 // attention
	denied  atomic.Uint32 // denial: what reservations of others forbid

	// under LogicalUnit.mu
	prevent bool
	copies  []copyResult
}

// maximumSeen bounds what a unit remembers of nexuses that are gone.
const maximumSeen = 1024

// Attach adds a nexus, as a login does. It fails where the same initiator port is attached through the same
// target port: detach that one first, as session reinstatement does. The first commands of the nexus get the
// unit attentions that SAM-5 asks for.
func (lu *LogicalUnit) Attach(cfg NexusConfig) (*Nexus, error) {
	if cfg.Initiator == "" || cfg.Port.Name == "" || cfg.Port.ID == 0 {
		return nil, fmt.Errorf("a nexus needs an initiator port, a target port and its relative identifier, not %q, %q, %d",
			cfg.Initiator, cfg.Port.Name, cfg.Port.ID)
	}
	n := &Nexus{unit: lu, cfg: cfg, key: nexusKey{cfg.Initiator, cfg.Port.Name}}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.nexuses[n.key] != nil {
		return nil, fmt.Errorf("%s is attached through %s already", cfg.Initiator, cfg.Port.Name)
	}
	if err := lu.addPort(cfg.Port); err != nil {
		return nil, err
	}
	if lu.seen[n.key] {
		n.raise(attentionNexusLoss)
	} else {
		n.raise(attentionPowerOn)
	}
	lu.nexuses[n.key] = n
	lu.deny(n)
	return n, nil
}

// Detach removes the nexus, as an I_T nexus loss does: a reservation that RESERVE made and its prevention of
// medium removal end, its persistent reservations stay. None of its commands may run any more.
func (n *Nexus) Detach() {
	lu := n.unit
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.nexuses[n.key] != n {
		return
	}
	delete(lu.nexuses, n.key)
	if len(lu.seen) < maximumSeen {
		lu.seen[n.key] = true
	}
	if lu.reserver == n {
		lu.reserver = nil
	}
	lu.denyAll()
}

// Unit returns the logical unit that the nexus is with.
func (n *Nexus) Unit() *LogicalUnit { return n.unit }

// Initiator returns the name of the initiator port.
func (n *Nexus) Initiator() string { return n.cfg.Initiator }

// Port returns the target port.
func (n *Nexus) Port() Port { return n.cfg.Port }

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// NowReader is a medium that knows which reads need not wait for anything.
type NowReader interface {
	// ReadNow fills p from off where it can do that without waiting, as from a page cache, and else returns
	// false. It is called for reads that are within the medium, and in the goroutine that takes in commands.
	ReadNow(p []byte, off int64) bool
}

// NowWriter is a medium whose writes seldom wait for anything.
type NowWriter interface {
	// WritesNow reports whether a write of so many bytes is likely to take no longer than to copy them.
	WritesNow(length int64) bool
}

// Parallel is a medium that works on many requests at once, and needs no thread for each.
type Parallel interface {
	// Requests returns how many at once are worth the while.
	Requests() int
}

// TargetConfig says what a target is.
type TargetConfig struct {
	Name  pdu.Name // as pdu.ParseName made it
	Alias string   // TargetAlias, at most 255 bytes; "" has none
	Unit  *scsi.LogicalUnit

	// Device is the medium of Unit. It is not used but as a NowReader, a NowWriter, a pdu.Splicer or Parallel where it is one.
	Device scsi.Device

	// PortID is the relative target port identifier: each target of one Unit needs its own. 0 is 1.
	PortID uint16

	Limiter  *Limiter // of the volume; nil limits nothing
	Counters Counters // of all its sessions; nil counts nothing
}

// Target is an iSCSI target with one logical unit, LUN 0. Its methods may be called from many goroutines at once.
type Target struct {
	server *Server
	name   pdu.Name
	cfg    TargetConfig
	reader NowReader   // the device, if it is one
	writer NowWriter   // the same
	pages  pdu.Splicer // the same
	most   int         // workers that a session has

	mu          sync.Mutex
	removed     bool
	open        []*Attachment // those without a CHAP name
	attachments map[*Attachment]struct{}
	sessions    map[*session]struct{}
}

// Errors of targets and attachments.
var (
	ErrExists  = errors.New("the name is in use")
	ErrRemoved = errors.New("it was removed")
)

// AddTarget makes a target known. Nobody can log in to it before it has an Attachment.
func (s *Server) AddTarget(cfg TargetConfig) (*Target, error) {
	if cfg.Unit == nil {
		return nil, errors.New("a target needs a logical unit")
	}
	if name, err := pdu.ParseName(string(cfg.Name)); err != nil || name != cfg.Name {
		return nil, fmt.Errorf("target name %q is not one as ParseName makes it", cfg.Name)
	}
	if cfg.PortID == 0 {
		cfg.PortID = 1
	}
	t := &Target{
		server: s, name: cfg.Name, cfg: cfg,
		attachments: make(map[*Attachment]struct{}), sessions: make(map[*session]struct{}),
	}
	t.reader, _ = cfg.Device.(NowReader)
	t.writer, _ = cfg.Device.(NowWriter)
	t.pages, _ = cfg.Device.(pdu.Splicer)
	t.most = s.cfg.Workers
	if p, ok := cfg.Device.(Parallel); ok {
		t.most = max(t.most, p.Requests())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.targets[t.name] != nil {
		return nil, fmt.Errorf("target %s: %w", t.name, ErrExists)
	}
	s.targets[t.name] = t
	return t, nil
}

// Name returns the target's name.
func (t *Target) Name() pdu.Name { return t.name }

// Remove takes the target away with all its attachments, as Attachment.Remove does. When it returned nil
// nothing of the target uses the logical unit any more.
func (t *Target) Remove(ctx context.Context) error {
	t.server.mu.Lock()
	if t.server.targets[t.name] == t {
		delete(t.server.targets, t.name)
	}
	t.server.mu.Unlock()
	t.mu.Lock()
	t.removed = true
	var attachments []*Attachment
	for a := range t.attachments {
		attachments = append(attachments, a)
	}
	t.mu.Unlock()
	for _, a := range attachments {
		a.withdraw()
	}
	t.mu.Lock()
	var sessions []*session // also of attachments that were removed before, and still end
	for s := range t.sessions {
		sessions = append(sessions, s)
	}
	t.mu.Unlock()
	return endAll(ctx, sessions, errFenced)
}

// PortName is the name of a target's SCSI port; section 4.4.1.
func PortName(target pdu.Name) string { return fmt.Sprintf("%s,t,0x%04x", target, portalGroup) }

// port is the SCSI target port.
func (t *Target) port() scsi.Port {
	return scsi.Port{Target: string(t.name), Name: PortName(t.name), ID: t.cfg.PortID}
}

package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"elstore/export"
	"elstore/export/nbd"
)

// Config is what an Attachment serves. All of it is required.
type Config struct {
	Medium export.Medium
	Record export.Record
	Rates  export.Rates
	Gate   *export.Gate
	Watch  export.Watch
}

// Attachment is an attachment that stands, with its sessions. Its methods may be called at the same time.
type Attachment struct {
	cfg     Config
	many    bool // sessions may be several
	pace    export.Pacer
	ctx     context.Context //nolint:containedctx // its end ends the sessions
	end     context.CancelFunc
	running sync.WaitGroup
	order   nbd.Order

	readOps, readBytes, writeOps, writeBytes, otherOps, failures atomic.Uint64
	reading, writing                                             export.LatencyMeter

	mu       sync.Mutex
	ended    bool
	sessions []*export.Session
}

// New returns an Attachment that nobody is connected to.
func New(ctx context.Context, cfg Config) *Attachment {
	meta := cfg.Medium.Volume.Meta
	a := &Attachment{cfg: cfg, many: meta.Shareable || meta.ReadOnly || cfg.Record.Multipath || cfg.Record.ReadOnly}
	a.pace.Set(cfg.Rates)
	a.ctx, a.end = context.WithCancel(context.WithoutCancel(ctx))
	return a
}

// Unit is what is the same in each export.Unit that Attachments are of.
type Unit struct{ Medium export.Medium }

// Resized implements export.Unit. NBD has no way to tell clients: QEMU asks again when it is told to.
func (*Unit) Resized(int64) {}

// Close implements export.Unit.
func (*Unit) Close(context.Context, bool) error { return nil }

// These are why nobody gets in.
var (
	errEnded = errors.New("the export has ended")
	errTaken = errors.New("somebody else is connected, and the volume is for one at a time")
	errMany  = fmt.Errorf("there are %d connections already, as many as an export has", maxSessions)
)

// maxSessions bounds those of an attachment, as those of an iSCSI target are.
const maxSessions = 64

// Serve serves a connection as a session by running serve, and returns its error. Where nobody gets in, or not beside who is there
// already, serve is not called, and the error says so.
func (a *Attachment) Serve(initiator, remote string, serve func(ctx context.Context, e nbd.Export) error) error {
	s := &export.Session{Initiator: initiator, Remote: remote, Since: time.Now().UTC()}
	if err := a.admit(s); err != nil {
		return err
	}
	defer a.running.Done()
	log := a.cfg.Medium.Log.With(slog.String("initiator", s.Initiator), slog.String("remote", s.Remote))
	log.Info("NBD session began")
	a.cfg.Watch(*s, true)
	err := serve(a.ctx, nbd.Export{
		Name: a.cfg.Medium.Volume.ID.String(), Device: a.cfg.Medium.Device, ReadOnly: a.cfg.Record.ReadOnly, Gate: a.cfg.Gate,
		Order: a.ordering(), Count: a.count, Pace: a.wait,
	})
	a.mu.Lock()
	a.sessions = slices.DeleteFunc(a.sessions, func(o *export.Session) bool { return o == s })
	a.mu.Unlock()
	log.Info("NBD session ended", slog.Any("reason", err))
	a.cfg.Watch(*s, false)
	return err
}

func (a *Attachment) admit(s *export.Session) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.ended:
		return errEnded
	case len(a.sessions) > 0 && !a.many:
		return errTaken
	case len(a.sessions) >= maxSessions:
		return errMany
	}
	a.running.Add(1)
	a.sessions = append(a.sessions, s)
	return nil
}

// ordering is what keeps connections apart, where there may be several.
func (a *Attachment) ordering() *nbd.Order {
	if !a.many {
		return nil
	}
	return &a.order
}

// SetRates makes rates those that count.
func (a *Attachment) SetRates(r export.Rates) { a.pace.Set(r) }

func (a *Attachment) wait(ctx context.Context, kind nbd.Kind, bytes int) error {
	switch kind {
	case nbd.Read:
		return a.pace.Wait(ctx, export.Reading, bytes)
	case nbd.Write:
		return a.pace.Wait(ctx, export.Writing, bytes)
	case nbd.Other:
	}
	return nil
}

func (a *Attachment) count(kind nbd.Kind, bytes int, failed bool, took time.Duration) {
	switch kind {
	case nbd.Read:
		a.readOps.Add(1)
		a.readBytes.Add(uint64(bytes))
		a.reading.Count(took)
	case nbd.Write:
		a.writeOps.Add(1)
		a.writeBytes.Add(uint64(bytes))
		a.writing.Count(took)
	case nbd.Other:
		a.otherOps.Add(1)
	}
	if failed {
		a.failures.Add(1)
	}
}

// Counts returns what the sessions did.
func (a *Attachment) Counts() export.Counts {
	return export.Counts{
		ReadOperations: a.readOps.Load(), ReadBytes: a.readBytes.Load(), WriteOperations: a.writeOps.Load(), WriteBytes: a.writeBytes.Load(),
		OtherOperations: a.otherOps.Load(), Errors: a.failures.Load(),
		ReadLatency: a.reading.Latency(), WriteLatency: a.writing.Latency(),
	}
}

// Sessions returns those that live.
func (a *Attachment) Sessions() []export.Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := []export.Session{}
	for _, s := range a.sessions {
		list = append(list, *s)
	}
	return list
}

// End lets nobody in any more and ends the sessions. When it returns nil nothing of them can reach the medium. With an error,
// which is ctx's, that is not proven; it may be called again.
func (a *Attachment) End(ctx context.Context) error {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.end()
	done := make(chan struct{})
	go func() {
		a.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("requests of NBD clients are under way still: %w", context.Cause(ctx))
	}
}

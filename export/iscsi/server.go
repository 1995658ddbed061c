package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// ErrClosed is what Serve returns after Shutdown or Close.
var ErrClosed = errors.New("the iSCSI server is closed")

// portalGroup is the portal group tag of all portals: a session may be reached through any of them.
const portalGroup = 1

// Server is an iSCSI target node for any number of targets. Its methods may be called from many goroutines at
// once.
type Server struct {
	cfg         Config
	negotiation *login.Config

	granted   atomic.Int64 // bytes that commands hold
	lingering *lingering

	mu        sync.Mutex
	closed    bool
	stopped   chan struct{} // closed with closed
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	halfOpen  []*conn // the oldest first
	targets   map[pdu.Name]*Target
	names     map[string]*Attachment // by CHAP name
	tsih      map[uint16]*session
	lastTSIH  uint16

	running sync.WaitGroup // connections
}

// New returns a Server without targets and portals.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		lingering: newLingering(),
		stopped:   make(chan struct{}),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		targets:   make(map[pdu.Name]*Target),
		names:     make(map[string]*Attachment),
		tsih:      make(map[uint16]*session),
	}
	cfg.Negotiation.Authority = noAuthority{} // every login has its own
	if s.negotiation, err = cfg.Negotiation.Check(); err != nil {
		return nil, fmt.Errorf("negotiation: %w", err)
	}
	return s, nil
}

// target returns the target of that name, or nil.
func (s *Server) target(name pdu.Name) *Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.targets[name]
}

// allTargets returns the targets, sorted by name.
func (s *Server) allTargets() []*Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Target, 0, len(s.targets))
	for _, t := range s.targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Target) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return list
}

// takeTSIH gives a session its identifier; false where none is left.
func (s *Server) takeTSIH(ses *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tsih) >= 1<<16-1 {
		return false
	}
	for {
		s.lastTSIH++
		if s.lastTSIH != 0 && s.tsih[s.lastTSIH] == nil {
			ses.tsih = s.lastTSIH
			s.tsih[ses.tsih] = ses
			return true
		}
	}
}

func (s *Server) freeTSIH(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses.tsih != 0 {
		delete(s.tsih, ses.tsih)
	}
}

// sessions returns the sessions of every kind.
func (s *Server) sessions() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*session, 0, len(s.tsih))
	for _, ses := range s.tsih {
		list = append(list, ses)
	}
	return list
}

// sessionsOf returns the sessions that have a nexus with a unit, through whatever target.
func (s *Server) sessionsOf(unit *scsi.LogicalUnit) []*session {
	return slices.DeleteFunc(s.sessions(), func(ses *session) bool {
		return ses.target == nil || ses.target.cfg.Unit != unit
	})
}

// Shutdown stops: nobody new is let in, initiators are asked to log out and get LogoutTimeout for it, then
// their connections are closed. It returns once nothing is left, or the context is done: what is left then
// goes on ending by itself.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopListening()
	sessions := s.sessions()
	for _, ses := range sessions {
		ses.askLogout()
	}
	wait, cancel := context.WithTimeout(ctx, s.cfg.LogoutTimeout)
	defer cancel()
	for _, ses := range sessions {
		select {
		case <-ses.gone:
		case <-wait.Done():
		}
	}
	s.closeConns()
	return s.wait(ctx)
}

// Close stops at once, without a word to the initiators. It returns once nothing is left.
func (s *Server) Close() error {
	s.stopListening()
	s.closeConns()
	return s.wait(context.Background())
}

func (s *Server) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.stopped)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
}

func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.kill(errStopped)
	}
}

func (s *Server) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connections are still ending: %w", ctx.Err())
	}
}

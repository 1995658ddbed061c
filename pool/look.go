package pool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

var errLockLost = errors.New("its lock was removed")

// look compares the pools that are known with what is there, and starts what has to be done about it. What it
// returns are closed when each of the pools that are being attached is in use or refused.
func (s *Set) look(ctx context.Context) (attaching []<-chan struct{}) {
	s.looking.Lock()
	defer s.looking.Unlock()
	sv := s.survey()
	s.mu.Lock()
	if s.closed || ctx.Err() != nil {
		s.mu.Unlock()
		return nil
	}
	s.notPools = sv.notPools
	fresh := s.match(ctx, &sv)
	s.mu.Unlock()

	for _, p := range s.inUse() {
		err := p.check()
		s.mu.Lock()
		if errors.Is(err, errLockLost) {
			s.part(ctx, p)
		} else if p.phase == attached && p.reason == nil {
			p.reason = err
		}
		s.mu.Unlock()
	}

	s.mu.Lock()
	for _, p := range s.choose(fresh) {
		s.begin(ctx, p)
	}
	s.arrange()
	for _, p := range s.pools {
		if p.done != nil {
			attaching = append(attaching, p.done)
		}
	}
	s.mu.Unlock()
	s.report()
	return attaching
}

// survey discovers, and watches what it came by. Directories that are watched from now on are looked at once more: what was
// made in them before would go unseen.
func (s *Set) survey() survey {
	const rounds = 3
	var sv survey
	for range rounds {
		root, err := os.OpenRoot(s.root)
		if err != nil {
			sv = survey{failed: map[string]error{}}
			if !absent(err) {
				sv.failed["."] = err
			}
			return sv
		}
		sv = discover(root, &s.asking)
		_ = root.Close()
		if !s.watcher.follow(s.root, sv.watch) {
			break
		}
	}
	return sv
}

// match brings what is known in line with a survey: settings that changed take effect, pools that went are parted with, and
// for those that came there are new Pools. It returns those that might be attached. The caller holds mu.
func (s *Set) match(ctx context.Context, sv *survey) (fresh map[*Pool]bool) {
	fresh = map[*Pool]bool{}
	known := map[string]bool{}
	there := map[string]*candidate{}
	for i := range sv.pools {
		there[sv.pools[i].rel] = &sv.pools[i]
	}
	for _, p := range s.pools {
		if p.phase == leaving || p.phase == gone {
			continue
		}
		c := there[p.rel]
		if c == nil {
			if err := sv.unsure(p.rel); err != nil {
				p.reason = fault.Errorf(fault.PoolUnavailable, "it can't be looked at: %s", cause(err))
				known[p.rel] = true
			} else {
				s.part(ctx, p)
			}
			continue
		}
		if c.dir != nil && !os.SameFile(p.dir, c.dir) || c.err == nil && p.differs(c) {
			s.part(ctx, p)
			continue
		}
		known[p.rel] = true
		if c.err == nil {
			p.settings = c.settings
			fresh[p] = p.phase == found
		}
		if c.err != nil || p.phase == attached { // otherwise it stands until attaching went better
			p.reason = c.err
		}
		if p.phase == attached && c.dir != nil && !c.dir.ModTime().Equal(p.modified) {
			p.modified = c.dir.ModTime()
			p.poke()
		}
	}
	for _, c := range sv.pools {
		if !known[c.rel] {
			p := s.add(&c)
			fresh[p] = p.reason == nil
		}
	}
	return fresh
}

// differs reports whether the settings changed in something that an attached pool can't follow, or in its name.
func (p *Pool) differs(c *candidate) bool {
	a, b := p.settings, c.settings
	return p.name != c.name() || a.Unique != b.Unique || a.Shared != b.Shared || !reflect.DeepEqual(a.Ceph, b.Ceph)
}

// name returns what the pool is called: what its settings say, or where it lies.
func (c *candidate) name() string {
	if c.settings.Name != "" {
		return c.settings.Name
	}
	return c.shown
}

// add makes a Pool of a candidate. The caller holds mu.
func (s *Set) add(c *candidate) *Pool {
	p := &Pool{
		set: s, rel: c.rel, path: filepath.Join(s.root, c.rel), dir: c.dir, name: c.name(), settings: c.settings, reason: c.err,
		ceph: c.settings.Ceph != nil, poked: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	if p.name == "." {
		p.name = filepath.Base(s.root)
		if p.name == "/" {
			p.name = "root"
		}
	}
	if c.dir != nil {
		p.modified = c.dir.ModTime()
	}
	if err := volume.CheckName(p.name); err != nil && p.reason == nil {
		p.reason = fault.Errorf(fault.PoolUnavailable, `its directory's name can't be a pool's: set "name" in %s`, SettingsFile)
		p.name = strings.ToValidUTF8(p.name, "?")
	}
	s.pools = append(s.pools, p)
	return p
}

// choose returns those of fresh that may be attached: nothing else bears their name, and what lay at their place is gone. The caller holds mu.
func (s *Set) choose(fresh map[*Pool]bool) []*Pool {
	names, places := map[string]*Pool{}, map[string]bool{}
	for _, p := range s.pools {
		if p.phase != found && p.phase != gone {
			names[p.name], places[p.rel] = p, true
		}
	}
	s.arrange()
	var list []*Pool
	for _, p := range s.pools {
		if p.phase != found {
			continue
		}
		if other := names[p.name]; other != nil && other.rel != p.rel {
			p.reason = fault.Errorf(fault.PoolUnavailable,
				`the pool %s is named %s already; set another "name" in %s`, other.path, p.name, SettingsFile)
			continue
		}
		names[p.name] = p
		if fresh[p] && !places[p.rel] {
			list = append(list, p)
		}
	}
	return list
}

// inUse returns the attached pools.
func (s *Set) inUse() []*Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Pool
	for _, p := range s.pools {
		if p.phase == attached {
			list = append(list, p)
		}
	}
	return list
}

// check looks whether an attached pool can still be written.
func (p *Pool) check() error {
	r, err := p.storage.ask()
	switch {
	case err != nil:
		return err
	case r.readOnly:
		return fault.Errorf(fault.PoolUnavailable, "its file system is read-only")
	}
	if err := unix.Access(p.path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fault.Errorf(fault.PoolUnavailable, "this server may not write it: %s", err)
	}
	if p.life != nil && !p.life.held() || p.shared != nil && !p.shared.alive.held() {
		return errLockLost
	}
	if check := p.set.cfg.Check; check != nil {
		if err := check(p); err != nil {
			return err
		}
	}
	return p.tryWriting()
}

// tryWriting writes a little where the storage failed before: after an error some file systems refuse to be
// written, and don't say so anywhere else.
func (p *Pool) tryWriting() error {
	p.set.mu.Lock()
	suspect := p.suspect
	p.suspect = false
	p.set.mu.Unlock()
	if !suspect {
		return nil
	}
	now := time.Now()
	if err := p.root.Chtimes(LockFile, now, now); err != nil {
		p.set.mu.Lock()
		p.suspect = true
		p.set.mu.Unlock()
		return fault.Errorf(fault.PoolUnavailable, "it can't be written: %s", cause(err))
	}
	return nil
}

// report logs and tells what changed about pools since it last did.
func (s *Set) report() {
	s.mu.Lock()
	vanished := s.vanished
	s.vanished = nil
	var changed []*Pool
	var reasons []string
	for _, p := range s.pools {
		state := p.why()
		if said := "valid" + state; p.phase != attaching && p.phase != leaving && said != p.reported {
			p.reported = said
			changed, reasons = append(changed, p), append(reasons, state)
		}
	}
	s.mu.Unlock()
	for _, p := range vanished {
		s.log.Info("pool gone", slog.String("pool", p.name), slog.String("path", p.path))
	}
	for i, p := range changed {
		if reasons[i] == "" {
			s.log.Info("pool valid", slog.String("pool", p.name), slog.String("path", p.path))
		} else {
			s.log.Warn("pool not valid", slog.String("pool", p.name), slog.String("path", p.path), slog.String("reason", reasons[i]))
		}
	}
	if s.cfg.Notify != nil {
		for _, p := range slices.Concat(vanished, changed) {
			s.cfg.Notify(p.name)
		}
	}
}

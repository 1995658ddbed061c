package volumetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func with(extra map[string]json.RawMessage, key string) map[string]json.RawMessage {
	extra = maps.Clone(extra)
	if extra == nil {
		extra = map[string]json.RawMessage{}
	}
	extra[key] = json.RawMessage("true")
	return extra
}

// change is something that changes a pool, for Faults.
type change struct {
	name    string
	needs   volume.Format // that the storage must be able to keep
	prepare func(p *pool)
	do      func(b volume.Backend) error
	// either says that a failure may leave the change done: what it does can't be undone.
	either bool
}

var (
	subject = volume.IDFrom(sha256.Sum256([]byte("subject")))
	another = volume.IDFrom(sha256.Sum256([]byte("another")))
)

// Faults lets every step of every change of a pool fail, and be the last before a crash; or of the changes of
// these names only.
func Faults(t *testing.T, make func(t testing.TB) Storage, names ...string) {
	can := suite{make}.pool(t)
	for _, c := range changes(t) {
		if !can.keeps(c.needs) || names != nil && !slices.Contains(names, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, after := c.outcomes(t, make)
			if reflect.DeepEqual(before, after) {
				t.Fatal("the change changes nothing, and would prove nothing")
			}
			t.Run("fail", func(t *testing.T) { c.fail(t, make, before, after) })
			t.Run("outage", func(t *testing.T) { c.outage(t, make, before, after) })
			t.Run("crash", func(t *testing.T) { c.crash(t, make, before, after) })
		})
	}
}

// state is what there is in a pool: its volumes, and the bytes of its base images.
type state struct {
	Volumes map[volume.ID]string
	Bases   int64
}

// state looks at a pool through a Backend that has scanned it.
func (p *pool) state() state {
	p.t.Helper()
	s := state{Volumes: map[volume.ID]string{}}
	found := p.scan()
	s.Bases = p.BaseBytes()
	for id, f := range found {
		if f.Problem != nil {
			p.t.Errorf("volume %s: %v", id, f.Problem)
			continue
		}
		var sum, files string
		var received int64
		if f.Trashed.IsZero() {
			p.must(id, func(h volume.Held, m volume.Meta) (err error) {
				if sum, err = sums.of(h, m); err == nil {
					received, err = h.Received()
				}
				if err == nil {
					files, err = filesOf(h)
				}
				return err
			})
		}
		s.Volumes[id] = fmt.Sprintf("%s trashed %v, %d received, content %.8s, files%s", f.Meta.Encode(), f.Trashed, received, sum, files)
	}
	return s
}

// filesOf is what lies beside an image.
func filesOf(h volume.Held) (all string, err error) {
	names, err := h.Files()
	for _, name := range names {
		data, rerr := h.ReadFile(name)
		all += fmt.Sprintf(" %s=%s", name, data)
		err = errors.Join(err, rerr)
	}
	return all, err
}

// sums are the sums of what machines see in images, by the sums of their files: reading what a machine sees takes a process,
// and the same few images are looked at thousands of times.
var sums summary

type summary struct{ m sync.Map }

func (s *summary) of(h volume.Held, m volume.Meta) (string, error) {
	key := volume.NewID().String() // an image that is no file is read each time
	if data, err := os.ReadFile(h.Image(m).Path); err == nil {
		key = fmt.Sprintf("%s %s %x", m.Format, m.Base, sha256.Sum256(data))
	}
	if sum, ok := s.m.Load(key); ok {
		return sum.(string), nil
	}
	data, err := contentOf(h, m)
	if err != nil {
		return "", err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	s.m.Store(key, sum)
	return sum, nil
}

// outcomes returns the states before the change and after it.
func (c change) outcomes(t *testing.T, make func(testing.TB) Storage) (before, after state) {
	p := open(t, make(t))
	c.prepare(p)
	before = p.reopened().state()
	p = p.other()
	if err := c.do(p.Backend); err != nil {
		t.Fatal(err)
	}
	after = p.reopened().state()
	p.wantNothing()
	return before, after
}

// armed is a Backend whose steps go through s from the moment that arm is set.
func armed(t *testing.T, storage Storage, s *Steps) (p *pool, arm *atomic.Bool) {
	t.Helper()
	arm = new(atomic.Bool)
	p = start(t, storage, func(op string) error {
		if !arm.Load() {
			return nil
		}
		return s.Step(op)
	})
	return p, arm
}

// attempt prepares a storage and tries the change, with its steps going through s until arm is unset.
func (c change) attempt(t *testing.T, storage Storage, s *Steps) (p *pool, arm *atomic.Bool, err error) {
	t.Helper()
	p = open(t, storage)
	c.prepare(p)
	p.Close()
	p, arm = armed(t, storage, s)
	p.scan()
	arm.Store(true)
	return p, arm, c.do(p.Backend)
}

// survived looks at what a mishap left of a call that returned err, all or nothing, and makes the change again.
func (c change) survived(p *pool, mishap string, err error, before, after state) {
	p.t.Helper()
	got := p.state()
	switch {
	case err == nil && !reflect.DeepEqual(got, after):
		p.t.Errorf("%s, in a call that went well, left\n%v\nwant\n%v", mishap, got, after)
	case !reflect.DeepEqual(got, before) && !reflect.DeepEqual(got, after):
		p.t.Errorf("%s left\n%v\nwant\n%v\nor\n%v", mishap, got, before, after)
	}
	p.wantNothing()
	if err := c.do(p.Backend); err != nil && !errors.Is(err, errDone) {
		p.t.Errorf("again after %s: %v", mishap, err)
	}
	if got := p.reopened().state(); !reflect.DeepEqual(got, after) {
		p.t.Errorf("again after %s there is\n%v\nwant\n%v", mishap, got, after)
	}
}

// fail lets one step fail: the change must be done, or not, as it says.
func (c change) fail(t *testing.T, make func(testing.TB) Storage, before, after state) {
	for n := 0; ; n++ {
		steps := FailAt(n, syscall.ENOSPC)
		p, arm, err := c.attempt(t, make(t), steps)
		arm.Store(false)
		op, hit := steps.Hit()
		if !hit {
			if err != nil {
				t.Errorf("without a failure: %v", err)
			}
			return
		}
		want := after
		if err != nil {
			want = before
			if !errors.Is(err, syscall.ENOSPC) || !fault.Is(err, fault.PoolFull) {
				t.Errorf("step %d (%s): error %v (%s), want it to be %s", n, op, err, fault.CodeOf(err), fault.PoolFull)
			}
		}
		for _, q := range []*pool{p, p.other()} {
			got := q.state()
			if err != nil && c.either && reflect.DeepEqual(got, after) {
				continue
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("step %d (%s) failed, the call returned %v, and there is\n%v\nwant\n%v", n, op, err, got, want)
			}
		}
		p.wantNothing()
		if err != nil {
			// What failed once goes well the second time.
			if err := c.do(p.Backend); err != nil && !errors.Is(err, errDone) {
				t.Errorf("step %d (%s): again: %v", n, op, err)
			}
			if got := p.reopened().state(); !reflect.DeepEqual(got, after) {
				t.Errorf("step %d (%s): the second time there is\n%v\nwant\n%v", n, op, got, after)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// outage lets all steps from one on fail until the call has returned: the storage went away under it, and came back. The same
// process goes on.
func (c change) outage(t *testing.T, make func(testing.TB) Storage, before, after state) {
	for n := 0; ; n++ {
		steps := CrashAt(n)
		p, arm, err := c.attempt(t, make(t), steps)
		arm.Store(false)
		op, hit := steps.Hit()
		if !hit {
			return
		}
		if c.survived(p, fmt.Sprintf("an outage from step %d (%s) on", n, op), err, before, after); t.Failed() {
			return
		}
	}
}

// crash kills the process at every step, and its successors at every step of their recovery.
func (c change) crash(t *testing.T, make func(testing.TB) Storage, before, after state) {
	for n := 0; ; n++ {
		storage, steps := make(t), CrashAt(n)
		p, _, err := c.attempt(t, storage, steps)
		storage.Kill(p.Backend)
		p.Close()
		op, hit := steps.Hit()
		if !hit {
			return
		}
		for m := 0; ; m++ {
			steps := CrashAt(m)
			q, arm := armed(t, storage, steps)
			arm.Store(true)
			_ = q.Scan(context.Background(), func(volume.Found) error { return nil })
			storage.Kill(q.Backend)
			q.Close()
			if _, hit := steps.Hit(); !hit {
				break
			}
		}
		if c.survived(open(t, storage), fmt.Sprintf("a crash at step %d (%s)", n, op), err, before, after); t.Failed() {
			return
		}
	}
}

// errDone says that the change had been made before.
var errDone = errors.New("done already")

// done makes errDone of the errors of a second time.
func done(err error) error {
	if fault.Is(err, fault.VolumeExists) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errDone, err)
	}
	return err
}

package export

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

var errStep = errors.New("no space left")

// A server that ends at any step of an export, and starts again, has all of it or nothing; and the client that asks again gets in.
func TestCrashAtEveryStepOfExport(t *testing.T) {
	for n := 0; ; n++ {
		c := &crash{n: n, armed: true}
		p := newPlace(t, `{}`, func(cfg *Config) { cfg.step = c.step })
		id := p.create()
		answer := crashing(func() (*Answer, error) { return p.Export(t.Context(), Request{Volume: id, Client: bob}) })
		if !c.crashed {
			if n < 4 || answer == nil {
				t.Fatalf("an export has %d steps, and answered %v", n, answer)
			}
			return
		}
		p.restart()
		p.Restore(t.Context())
		b := p.book(id)
		switch len(b.Attachments) {
		case 0:
			if got := p.traces(id); len(got) > 0 && !slices.Equal(got, []string{".export"}) {
				t.Errorf("step %d: nothing stands, and there is %q", n, got)
			}
		case 1:
			if p.toy.login(id, b.Attachments[0].Secret.Reveal()) == nil {
				t.Errorf("step %d: the book's attachment does not stand", n)
			}
		}
		a := p.export(id, bob)
		if p.toy.login(id, a.Access.Secret) == nil {
			t.Errorf("step %d: the client does not get in", n)
		}
		if len(b.Attachments) == 1 && a.Access.Secret != b.Attachments[0].Secret.Reveal() {
			t.Errorf("step %d: the client gets another secret than the one that was written", n)
		}
		p.end(id, bob)
		if got := p.traces(id); len(got) > 0 {
			t.Errorf("step %d: in the end there is %q", n, got)
		}
	}
}

// A server that ends at any step of an unexport lets nobody in afterwards, unless nothing had been written yet.
func TestCrashAtEveryStepOfUnexport(t *testing.T) {
	for n := 0; ; n++ {
		c := &crash{n: n}
		p := newPlace(t, `{}`, func(cfg *Config) { cfg.step = c.step })
		id := p.create()
		secret := p.export(id, bob).Access.Secret
		c.armed = true
		crashing(func() (*Answer, error) { return nil, p.Unexport(t.Context(), id, bob, "", false) })
		if !c.crashed {
			if n < 2 {
				t.Fatalf("an unexport has %d steps", n)
			}
			return
		}
		p.restart()
		p.Restore(t.Context())
		stands := p.toy.login(id, secret) != nil
		if written := len(p.book(id).Attachments) == 0; stands == written {
			t.Errorf("step %d: it stands: %t; it is not in the book: %t", n, stands, written)
		}
		if !stands {
			if got := p.traces(id); len(got) > 0 && !slices.Equal(got, []string{".export"}) {
				t.Errorf("step %d: there is %q", n, got)
			}
		}
		p.end(id, bob)
		p.export(id, carol)
	}
}

// Where a step fails the call says so, and nothing of it is left: the volume is anybody's.
func TestFailureAtEveryStepOfExport(t *testing.T) {
	failures := []string{"serve", "attach"}
	for n := 0; ; n++ {
		count := 0
		p := newPlace(t, `{}`, func(c *Config) {
			c.step = func(op, name string) error {
				if count++; count == n+1 {
					return errStep
				}
				return nil
			}
		})
		id := p.create()
		if i := n - 100; i >= 0 {
			p.toy.failOn(failures[i], errStep)
		}
		_, err := p.Export(t.Context(), Request{Volume: id, Client: bob})
		if err == nil {
			if n < 4 {
				t.Fatalf("an export has %d steps", n)
			}
			if n >= 100 {
				t.Fatalf("%s does not fail", failures[n-100])
			}
			n = 99
			continue
		}
		if !errors.Is(err, errStep) {
			t.Errorf("step %d: %v", n, err)
		}
		p.Reconcile(t.Context())
		if got := p.traces(id); len(got) > 0 && !slices.Equal(got, []string{".export"}) {
			t.Errorf("step %d: a failed export left %q", n, got)
		}
		if v, _ := p.Volumes.Get(t.Context(), id, nil); len(v.Exports) > 0 {
			t.Errorf("step %d: the volume is used by %q", n, v.Exports)
		}
		p.toy.failOn("serve", nil)
		p.toy.failOn("attach", nil)
		p.export(id, carol)
		if n == 100+len(failures)-1 {
			return
		}
	}
}

func TestFailureOfASecondAttachmentLeavesTheFirst(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create(shareable)
	first := p.export(id, alice)
	p.toy.failOn("attach", errStep)
	if _, err := p.Export(t.Context(), Request{Volume: id, Client: bob}); !errors.Is(err, errStep) {
		t.Errorf("got %v", err)
	}
	if p.toy.login(id, first.Access.Secret) == nil || len(p.book(id).Attachments) != 1 {
		t.Errorf("the book has %+v", p.book(id))
	}
	if v, _ := p.Volumes.Get(t.Context(), id, nil); !slices.Equal(v.Exports, []string{"iscsi:" + alice.String()}) {
		t.Errorf("used by %q", v.Exports)
	}
	p.toy.failOn("attach", nil)
	p.export(id, bob)
	p.end(id, alice)
	if b := p.book(id); len(b.Attachments) != 1 || b.Attachments[0].Client != bob || b.Attachments[0].Port != 2 {
		t.Errorf("the book has %+v", b)
	}
	p.end(id, bob)
}

func TestRestart(t *testing.T) {
	p := newPlace(t, `{}`)
	var secrets []string
	var ids []volume.ID
	for range 40 {
		id := p.create()
		ids = append(ids, id)
		secrets = append(secrets, p.export(id, bob).Access.Secret)
	}
	p.restart()
	p.Restore(t.Context())
	for i, id := range ids {
		if p.toy.login(id, secrets[i]) == nil {
			t.Errorf("volume %d: the secret from before lets nobody in", i)
		}
	}
	_, err := p.Export(t.Context(), Request{Volume: ids[0], Client: carol})
	wantCode(t, err, fault.VolumeAlreadyExported)
	if got := p.Orphans(t.Context()); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	// In order too.
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if v, _ := p.Volumes.Get(t.Context(), ids[0], nil); len(v.Exports) > 0 || !p.toy.stopped {
		t.Errorf("after the end used by %q", v.Exports)
	}
	p.again()
	p.Restore(t.Context())
	if p.toy.login(ids[0], secrets[0]) == nil {
		t.Error("after an orderly end the secret lets nobody in")
	}
}

func TestWhatCanNotBeRestoredYet(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	secret := p.export(id, bob).Access.Secret
	p.restart()
	unlock := p.lock(id)
	p.Restore(t.Context())
	if got := p.Orphans(t.Context()); !slices.ContainsFunc(got, func(o Orphan) bool { return strings.Contains(o.What, "could not be restored yet") }) {
		t.Errorf("orphans: %+v", got)
	}
	unlock()
	// Nobody else gets it meanwhile, since the Book says whose it is.
	_, err := p.Export(t.Context(), Request{Volume: id, Client: carol})
	wantCode(t, err, fault.VolumeAlreadyExported)
	p.Reconcile(t.Context())
	if p.toy.login(id, secret) == nil {
		t.Error("it is never restored")
	}
	if got := p.Orphans(t.Context()); len(got) > 0 {
		t.Errorf("orphans: %+v", got)
	}
}

func TestAnotherServersBookIsNotRestored(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	secret := p.export(id, bob).Access.Secret
	p.cfg.ServerID = volume.NewID().String()
	p.restart()
	p.Restore(t.Context())
	if p.toy.login(id, secret) != nil {
		t.Error("the secret of another server lets in")
	}
	marker := filepath.Join(p.dir(id), Name(bob, id)+".exported")
	_, err := p.Export(t.Context(), Request{Volume: id, Client: carol})
	wantCode(t, err, fault.VolumeAlreadyExported)
	if err == nil || !strings.Contains(err.Error(), "at 192.0.2.1:3260") {
		t.Errorf("%v does not say where", err)
	}
	// The pool was moved here from a machine that is gone: its lock is ours, and nobody keeps the marker fresh.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(marker, old, old); err != nil {
		t.Fatal(err)
	}
	if got := p.Orphans(t.Context()); len(got) != 2 {
		t.Errorf("orphans: %+v", got)
	}
	p.export(id, carol)
	if b := p.book(id); b.Server != p.cfg.ServerID || len(b.Attachments) != 1 || b.Attachments[0].Client != carol || b.Epoch != 2 {
		t.Errorf("the book is %+v", b)
	}
}

func TestFencingThatTakesItsTime(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	secret := p.export(id, bob).Access.Secret
	p.toy.failOn("remove", context.DeadlineExceeded)
	err := p.Unexport(t.Context(), id, bob, "", false)
	wantCode(t, err, fault.ExportFencing)
	if len(p.book(id).Attachments) > 0 {
		t.Error("the book has it still")
	}
	if list := p.List(t.Context(), Query{}); len(list) != 1 || list[0].State != Fencing {
		t.Errorf("%+v", list)
	}
	// It is nobody else's before that is proven, and whoever asks drives it on.
	_, err = p.Export(t.Context(), Request{Volume: id, Client: carol})
	wantCode(t, err, fault.ExportFencing)
	p.toy.failOn("remove", nil)
	if err := p.Unexport(t.Context(), id, bob, "", false); err != nil {
		t.Error(err)
	}
	if p.toy.login(id, secret) != nil {
		t.Error("it lets in still")
	}
	p.export(id, carol)
}

func TestPoolThatGoesAndComesBack(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create()
	secret := p.export(id, bob).Access.Secret
	away := filepath.Join(t.TempDir(), "away")
	for _, move := range [][2]string{{p.pool, away}, {away, p.pool}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
		p.until("the pool is as it lies", func() bool {
			v, err := p.Volumes.Get(t.Context(), id, nil)
			return p.Pools.Rescan(t.Context()) == nil && err == nil && v.Available == (move[1] == p.pool)
		})
		if move[1] == away {
			wantCode(t, p.Unexport(t.Context(), id, bob, "", false), fault.PoolUnavailable)
		}
	}
	before := p.toy.login(id, secret)
	p.Reconcile(t.Context())
	after := p.toy.login(id, secret)
	if after == nil || after == before {
		t.Errorf("after its pool came back it stands as %p, and before as %p", after, before)
	}
	if v, err := p.Volumes.Get(t.Context(), id, nil); err != nil || len(v.Exports) != 1 {
		t.Errorf("used by %q, %v", v.Exports, err)
	}
	p.end(id, bob)
}

// crash ends the goroutine at the nth step since it was armed, and every one that takes a step after that, as the end of the
// process would.
type crash struct {
	n              int
	armed, crashed bool
}

func (c *crash) step(string, string) error {
	if !c.armed {
		return nil
	}
	if c.n--; c.n < 0 {
		c.crashed = true
		panic(errCrash)
	}
	return nil
}

var errCrash = errors.New("the process ends here")

// crashing runs do, which may crash.
func crashing(do func() (*Answer, error)) (a *Answer) {
	defer func() {
		if r := recover(); r != nil && r != errCrash { //nolint:errorlint // it is the very same
			panic(fmt.Sprint(r))
		}
	}()
	a, _ = do()
	return a
}

func TestVolumeThatVanishes(t *testing.T) {
	for _, comesBack := range []bool{false, true} {
		p := newPlace(t, `{}`)
		id := p.create()
		secret := p.export(id, bob).Access.Secret
		away := filepath.Join(p.root, "away")
		if err := os.Rename(p.dir(id), away); err != nil {
			t.Fatal(err)
		}
		if !comesBack {
			if err := os.RemoveAll(away); err != nil {
				t.Fatal(err)
			}
		}
		p.end(id, bob)
		if p.toy.login(id, secret) != nil || len(p.List(t.Context(), Query{})) > 0 {
			t.Error("it stands still")
		}
		if !comesBack {
			continue
		}
		if err := os.Rename(away, p.dir(id)); err != nil {
			t.Fatal(err)
		}
		p.restart()
		p.Restore(t.Context())
		if p.toy.login(id, secret) != nil {
			t.Error("it stands again")
		}
	}
}

// Somebody can be shut out while somebody else can't be let in.
func TestUnexportBesideWhatCanNotBeRestored(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create(shareable)
	p.export(id, alice)
	p.export(id, bob)
	p.restart()
	p.toy.failOn("attach", errStep)
	p.Restore(t.Context())
	p.end(id, alice)
	if b := p.book(id); len(b.Attachments) != 1 || b.Attachments[0].Client != bob {
		t.Errorf("the book is %+v", b)
	}
	p.toy.failOn("attach", nil)
	p.Reconcile(t.Context())
	if list := p.List(t.Context(), Query{}); len(list) != 1 || list[0].Record.Client != bob {
		t.Errorf("%+v", list)
	}
}

// What a change let in before it failed keeps what it has reserved, if it was in the Book before.
func TestFailedChangeFreesNothingOfOthers(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create(shareable)
	secret := p.export(id, alice).Access.Secret
	if _, err := p.Export(t.Context(), Request{Volume: id, Client: bob, Kind: "nbd"}); err != nil {
		t.Fatal(err)
	}
	p.restart()
	other := p.cfg.Kinds[1].(*toy)
	other.failOn("attach", errStep)
	nothing := func(volume.Volume, *Book) error { return nil }
	if err := p.Change(t.Context(), id, "export", nothing); !errors.Is(err, errStep) {
		t.Errorf("got %v", err)
	}
	if p.toy.removed > 0 || len(p.book(id).Attachments) != 2 {
		t.Errorf("%d were removed, and the book has %+v", p.toy.removed, p.book(id))
	}
	p.Restore(t.Context())
	if p.toy.login(id, secret) == nil {
		t.Error("one that fails keeps the other out")
	}
	if v, _ := p.Volumes.Get(t.Context(), id, nil); !slices.Equal(v.Exports, []string{"iscsi:" + alice.String()}) {
		t.Errorf("used by %q", v.Exports)
	}
	other.failOn("attach", nil)
	p.Reconcile(t.Context())
	if list := p.List(t.Context(), Query{}); len(list) != 2 || p.toy.removed > 0 {
		t.Errorf("%+v stand, and %d were removed", list, p.toy.removed)
	}
}

// Nobody new is let in, nor entered into the Book, before what was there is proven gone; who only goes does.
func TestNobodyNewBesideWhatIsBeingFenced(t *testing.T) {
	for _, attrs := range []func(*volume.Meta){func(*volume.Meta) {}, shareable} {
		p := newPlace(t, `{}`)
		id := p.create(attrs)
		p.export(id, bob)
		p.toy.failOn("remove", context.DeadlineExceeded)
		wantCode(t, p.Unexport(t.Context(), id, bob, "", false), fault.ExportFencing)
		for range 2 {
			_, err := p.Export(t.Context(), Request{Volume: id, Client: carol})
			wantCode(t, err, fault.ExportFencing)
			if b := p.book(id); len(b.Attachments) > 0 {
				t.Errorf("the book has %+v", b)
			}
			if list := p.List(t.Context(), Query{}); len(list) != 1 || list[0].Record.Client != bob || list[0].State != Fencing || len(p.Standing(id)) > 0 {
				t.Errorf("there stand %+v", list)
			}
			if n := len(p.toy.units[id].attached); n != 1 {
				t.Errorf("%d can log in or are being fenced", n)
			}
		}
		p.toy.failOn("remove", nil)
		a := p.export(id, carol)
		if p.toy.login(id, a.Access.Secret) == nil || len(p.List(t.Context(), Query{})) != 1 {
			t.Errorf("after that there stand %+v", p.List(t.Context(), Query{}))
		}
		p.end(id, carol)
		if got := p.traces(id); len(got) > 0 {
			t.Errorf("in the end there is %q", got)
		}
	}
}

func TestUnexportBesideWhatIsBeingFenced(t *testing.T) {
	p := newPlace(t, `{}`)
	id := p.create(shareable)
	p.export(id, alice)
	p.export(id, bob)
	p.toy.failOn("remove", context.DeadlineExceeded)
	for _, c := range []volume.Client{bob, alice} {
		wantCode(t, p.Unexport(t.Context(), id, c, "", false), fault.ExportFencing)
		if b := p.book(id); slices.ContainsFunc(b.Attachments, func(r Record) bool { return r.Client == c }) {
			t.Errorf("the book has %s still", c)
		}
	}
	p.toy.failOn("remove", nil)
	p.end(id, alice)
	if got := p.traces(id); len(got) > 0 {
		t.Errorf("in the end there is %q", got)
	}
}

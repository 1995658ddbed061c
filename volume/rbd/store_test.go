package rbd_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"elstore/test/rbdmodel"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/rbd"
)

const mib = 1 << 20

// store opens a Store on a cluster, as a server of that id.
func store(t *testing.T, c *rbdmodel.Cluster, server string) (*rbd.Store, *rbdmodel.Client) {
	t.Helper()
	client := c.Client(nil)
	s := rbd.NewStore(rbd.Config{Pool: "volumes", ServerID: server}, client)
	t.Cleanup(func() { s.Close() })
	return s, client
}

// made makes an image of 1 MiB and returns its name.
func made(t *testing.T, s *rbd.Store) string {
	t.Helper()
	name, ref := s.New(volume.NewID())
	if got, err := s.Parse(ref); err != nil || got != name {
		t.Fatalf("the reference to %s is to %s, %v", name, got, err)
	}
	must(t, s.Create(name, mib))
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code fault.Code, words ...string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("error %v (%s), want %s", err, fault.CodeOf(err), code)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func device(t *testing.T, s *rbd.Store, name string, readonly bool) volume.Device {
	t.Helper()
	d, err := s.OpenDevice(t.Context(), name, "", readonly)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestParseRefusesOtherPlaces(t *testing.T) {
	s, client := store(t, rbdmodel.New(), "a")
	for name, tt := range map[string]struct {
		ref  rbd.Ref
		says string
	}{
		"another cluster": {rbd.Ref{Cluster: "x", Pool: "volumes", Image: "i"}, "cluster x"},
		"another pool":    {rbd.Ref{Cluster: client.FSID(), Pool: "other", Image: "i"}, "pool other"},
	} {
		_, err := s.Parse(tt.ref.Encode())
		wantCode(t, err, fault.VolumeDamaged, tt.says)
		if t.Failed() {
			t.Error(name)
		}
	}
}

// TestParents has clones outlive what they were made of, over two generations, and nothing be left when the last goes.
func TestParents(t *testing.T) {
	for _, trashed := range []bool{false, true} {
		c := rbdmodel.New()
		s, _ := store(t, c, "a")
		first := made(t, s)
		d := device(t, s, first, false)
		data := bytes.Repeat([]byte{7}, 4096)
		_, err := d.WriteAt(data, 8192)
		must(t, err)
		must(t, d.Close())
		second, _ := s.New(volume.NewID())
		third, _ := s.New(volume.NewID())
		must(t, s.Clone(first, "", second))
		must(t, s.Clone(second, "", third))
		for _, name := range []string{first, second} {
			if trashed {
				must(t, s.Trash(name))
			}
			must(t, s.Removable(name))
			must(t, s.Remove(name))
			must(t, s.Remove(name))
		}
		d = device(t, s, third, true)
		got := make([]byte, 4096)
		if _, err := d.ReadAt(got, 8192); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the clone of what is gone: %v", err)
		}
		must(t, d.Close())
		if images := c.Images(); len(images) != 3 {
			t.Errorf("there are images %q", images)
		}
		must(t, s.Sweep()) // which leaves alone what is needed
		if parent, err := s.Parent(third); err != nil || !strings.HasPrefix(parent, "elstore-parked.") {
			t.Errorf("its parent is %q, %v", parent, err)
		}
		told := false
		must(t, s.Flatten(t.Context(), third, func(done, total int64) { told = done == total }))
		if !told {
			t.Error("nobody was told that it stands alone")
		}
		if images := c.Images(); !slices.Equal(images, []string{third}) {
			t.Errorf("when it stands alone there are images %q", images)
		}
		must(t, s.Flatten(t.Context(), third, nil))
		must(t, s.Remove(third))
		if images := c.Images(); len(images) > 0 {
			t.Errorf("left are %q", images)
		}
	}
}

func TestSnapshotsOfOthersBlockRemoval(t *testing.T) {
	c := rbdmodel.New()
	s, client := store(t, c, "a")
	name := made(t, s)
	h, err := client.Open(name, "", false)
	must(t, err)
	must(t, h.Snap("theirs"))
	must(t, h.Snap("elstore-leftover"))
	must(t, h.Close())
	wantCode(t, s.Removable(name), fault.VolumeCannotBeDeleted, "theirs", "rbd snap rm")
	wantCode(t, s.Remove(name), fault.VolumeCannotBeDeleted, "theirs")
	must(t, s.Trash(name))
	must(t, s.Untrash(name))
	h, err = client.Open(name, "", false)
	must(t, err)
	if snaps, err := h.Snaps(); err != nil || !slices.Equal(snaps, []string{"theirs"}) {
		t.Errorf("its snapshots are %q, %v", snaps, err)
	}
	must(t, h.Unsnap("theirs"))
	must(t, h.Close())
	must(t, s.Remove(name))
}

// A snapshot that another server of a shared pool copies from stays: else its copy would have what was written since.
func TestSnapshotsOfOtherServers(t *testing.T) {
	c := rbdmodel.New()
	one, _ := store(t, c, "a")
	name := made(t, one)
	snap, release, err := one.Snapshot(name)
	must(t, err)
	for _, shared := range []bool{true, false} {
		other := rbd.NewStore(rbd.Config{Pool: "volumes", ServerID: "b", Shared: shared}, c.Client(nil))
		d, err := other.OpenDevice(t.Context(), name, "", false)
		must(t, err)
		must(t, d.Close())
		copied, err := one.OpenDevice(t.Context(), name, snap, true)
		if there := err == nil; there != shared {
			t.Errorf("in a pool with shared %t the snapshot is there: %t, %v", shared, there, err)
		}
		if shared {
			wantCode(t, other.Removable(name), fault.VolumeCannotBeDeleted, snap)
			must(t, copied.Close())
		}
		must(t, other.Close())
	}
	release()
	must(t, one.Remove(name))
}

func TestLocks(t *testing.T) {
	tests := []struct {
		name   string
		server string // who opens it second
		died   bool   // the first one did
		broken bool   // and what it has open is shut out
		code   fault.Code
	}{
		{"another server, while the first lives", "b", false, false, fault.VolumeInUse},
		{"the same server, started again", "a", true, true, ""},
		{"another server, when the first is gone", "b", true, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := rbdmodel.New()
			first, client := store(t, c, "a")
			name := made(t, first)
			d := device(t, first, name, false)
			if tt.died {
				client.Kill()
			}
			second, _ := store(t, c, tt.server)
			e, err := second.OpenDevice(t.Context(), name, "", false)
			if tt.code != "" {
				wantCode(t, err, tt.code)
				wantCode(t, second.Removable(name), tt.code)
				if _, err := d.WriteAt(make([]byte, 512), 0); err != nil {
					t.Errorf("who has the lock can't write any more: %v", err)
				}
				return
			}
			must(t, err)
			defer e.Close()
			if _, err := e.WriteAt(make([]byte, 512), 0); err != nil {
				t.Error(err)
			}
			_, err = d.WriteAt(make([]byte, 512), 0)
			wantCode(t, err, fault.PoolUnavailable, "taken from this server")
			_, err = d.ReadAt(make([]byte, 512), 0)
			wantCode(t, err, fault.PoolUnavailable, "taken from this server")
		})
	}
}

func TestBlocklisted(t *testing.T) {
	c := rbdmodel.New()
	s, client := store(t, c, "a")
	d := device(t, s, made(t, s), false)
	client.Blocklist()
	for range 2 {
		wantCode(t, d.Flush(t.Context()), fault.PoolUnavailable, "must not touch it")
	}
	must(t, errors.Join(nil, ignore(d.Close())))
}

// ignore drops what a client that is shut out is told.
func ignore(err error) error {
	if fault.Is(err, fault.PoolUnavailable) {
		return nil
	}
	return err
}

func TestOpenTwice(t *testing.T) {
	s, _ := store(t, rbdmodel.New(), "a")
	name := made(t, s)
	d := device(t, s, name, false)
	_, err := s.OpenDevice(t.Context(), name, "", false)
	wantCode(t, err, fault.VolumeInUse)
	for _, err := range []error{s.Remove(name), s.Trash(name), s.Removable(name)} {
		wantCode(t, err, fault.VolumeInUse)
	}
	must(t, s.Resize(name, 2*mib))
	must(t, d.Grow(2*mib))
	snap, release, err := s.Snapshot(name)
	must(t, err)
	_, err = d.WriteAt([]byte{1}, 0)
	must(t, err)
	frozen, err := s.OpenDevice(t.Context(), name, snap, true)
	must(t, err)
	p := []byte{9}
	if _, err := frozen.ReadAt(p, 0); err != nil || p[0] != 0 || frozen.Size() != 2*mib {
		t.Errorf("the snapshot has %d of %d bytes, %v", p[0], frozen.Size(), err)
	}
	_, err = frozen.WriteAt(p, 0)
	wantCode(t, err, fault.VolumeReadOnly)
	must(t, frozen.Close())
	release()
	must(t, d.Close())
	must(t, d.Close())
	if _, err := d.ReadAt(p, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reading what is closed: %v", err)
	}
	must(t, s.Remove(name))
}

// TestDeadCluster has everything come back, and the requests of a machine wait.
func TestDeadCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := rbdmodel.New()
		var mu sync.Mutex
		changes := 0
		s := rbd.NewStore(rbd.Config{Pool: "volumes", ServerID: "a", Changed: func() {
			mu.Lock()
			defer mu.Unlock()
			changes++
		}}, c.Client(nil))
		name := made(t, s)
		d, err := s.OpenDevice(t.Context(), name, "", false)
		must(t, err)
		c.Stop()
		const machines = 300 // more than may be under way
		var work sync.WaitGroup
		var failed error
		for i := range machines {
			work.Go(func() {
				if _, err := d.WriteAt([]byte{1}, int64(i)); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = err
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		for what, err := range map[string]error{
			"create": s.Create("x", mib), "trash": s.Trash("x"), "untrash": s.Untrash("x"), "sweep": s.Sweep(), "clone": s.Clone("x", "", "y"),
		} {
			wantCode(t, err, fault.PoolUnavailable, "doesn't answer")
			if t.Failed() {
				t.Fatal(what)
			}
		}
		wantCode(t, s.Resize(name, 2*mib), fault.PoolUnavailable, "doesn't answer") // through the open image, which waits
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the answers took %s", took)
		}
		synctest.Wait()
		wantCode(t, s.Health(), fault.PoolUnavailable, "doesn't answer")
		c.Start()
		work.Wait()
		if failed != nil {
			t.Errorf("a request failed: %v", failed)
		}
		<-time.After(time.Minute)
		must(t, s.Health())
		mu.Lock()
		if changes != 2 {
			t.Errorf("its health changed %d times", changes)
		}
		mu.Unlock()
		must(t, d.Close())
		must(t, s.Close())
	})
}

// TestCloseOfADeadCluster has a Device be closed that has requests under way.
func TestCloseOfADeadCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := rbdmodel.New()
		s := rbd.NewStore(rbd.Config{Pool: "volumes", ServerID: "a"}, c.Client(nil))
		d, err := s.OpenDevice(t.Context(), made(t, s), "", false)
		must(t, err)
		c.Stop()
		results := make(chan error, 200)
		for range cap(results) {
			go func() {
				_, err := d.WriteAt([]byte{1}, 0)
				results <- err
			}()
		}
		synctest.Wait()
		wantCode(t, d.Close(), fault.PoolUnavailable, "doesn't answer")
		closed := 0
		for len(results) > 0 {
			if err := <-results; errors.Is(err, os.ErrClosed) {
				closed++
			}
		}
		if closed < 100 {
			t.Errorf("%d requests that had not begun were ended by Close", closed)
		}
		c.Start()
		synctest.Wait()
		must(t, s.Close())
	})
}

func TestPiecesAreWrittenAsOne(t *testing.T) {
	c := rbdmodel.New()
	writes := 0
	s := rbd.NewStore(rbd.Config{Pool: "volumes"}, c.Client(func(op string) error {
		if op == "rbd write" {
			writes++
		}
		return nil
	}))
	defer s.Close()
	d := device(t, s, made(t, s), false)
	want := []byte("one, two, three")
	for _, pieces := range [][][]byte{{want}, {want[:5], want[5:10], nil, want[10:]}} {
		n, err := d.(volume.VectorWriter).WriteVectorAt(pieces, 4090)
		got := make([]byte, len(want))
		if _, rerr := d.ReadAt(got, 4090); err != nil || rerr != nil || n != len(want) || !bytes.Equal(got, want) {
			t.Errorf("wrote %d bytes, %v, and read %q, %v", n, err, got, rerr)
		}
	}
	if _, err := d.(volume.VectorWriter).WriteVectorAt([][]byte{want, want}, mib-20); !fault.Is(err, fault.BadRequest) {
		t.Errorf("writing past the end: %v", err)
	}
	if writes != 2 {
		t.Errorf("%d writes reached the cluster, want 2", writes)
	}
}

func TestInventory(t *testing.T) {
	c := rbdmodel.New()
	s, client := store(t, c, "a")
	kept, trashed, parked := made(t, s), made(t, s), made(t, s)
	clone, _ := s.New(volume.NewID())
	must(t, s.Clone(parked, "", clone))
	must(t, s.Remove(parked))
	must(t, s.Trash(trashed))
	must(t, client.Create("somebody's own", mib))
	got, err := s.Inventory()
	want := map[string]bool{kept: false, trashed: true, clone: false, "somebody's own": false}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("found %v, %v, want %v", got, err, want)
	}
}

func TestUsage(t *testing.T) {
	s, _ := store(t, rbdmodel.New(), "a")
	name := made(t, s)
	if bytes, modified := s.Usage("another"); bytes != 0 || !modified.IsZero() {
		t.Errorf("what nobody measured takes %d bytes since %s", bytes, modified)
	}
	d := device(t, s, name, false)
	_, err := d.WriteAt(make([]byte, mib), 0)
	must(t, err)
	s.Measure(name)
	if bytes, modified := s.Usage(name); bytes != mib || modified.IsZero() {
		t.Errorf("it takes %d bytes since %s", bytes, modified)
	}
	s.Measure("another") // which leaves what was known
}

func TestFaultsAreClassified(t *testing.T) {
	for errno, want := range map[syscall.Errno]fault.Code{
		syscall.ETIMEDOUT: fault.PoolUnavailable, syscall.ESHUTDOWN: fault.PoolUnavailable, syscall.EPERM: fault.PoolUnavailable,
		syscall.ENOSPC: fault.PoolFull, syscall.EDQUOT: fault.PoolFull, syscall.EROFS: fault.VolumeInUse, syscall.EBUSY: fault.VolumeInUse,
		syscall.EIO: fault.PoolUnavailable, syscall.EPROTO: fault.PoolUnavailable,
	} {
		s := rbd.NewStore(rbd.Config{Pool: "volumes"}, rbdmodel.New().Client(func(string) error { return errno }))
		wantCode(t, s.Create("x", mib), want)
		must(t, s.Close())
	}
}

// TestCredentialsEndWhereTheServerWrites: nobody has an image open past the server while a machine writes to it through the server.
func TestCredentialsEndWhereTheServerWrites(t *testing.T) {
	c := rbdmodel.New()
	s, _ := store(t, c, "a")
	name := made(t, s)
	client, err := volume.ParseClient(volume.NewID().String())
	must(t, err)
	give := func() {
		t.Helper()
		_, err := s.Credentials(name, volume.NewID(), client)
		must(t, err)
		if n := len(c.Users()); n != 1 {
			t.Fatalf("there are %d users", n)
		}
	}
	give()
	hypervisor, err := c.Client(nil).Open(name, "", false) // it has not written yet, and so not the lock
	must(t, err)
	_, err = s.OpenDevice(t.Context(), name, "", false)
	wantCode(t, err, fault.VolumeInUse, "with the credentials that were given out")
	if n := len(c.Users()); n != 1 {
		t.Errorf("a refused call left %d users", n)
	}
	must(t, hypervisor.Close())
	must(t, device(t, s, name, true).Close())
	if n := len(c.Users()); n != 1 {
		t.Errorf("reading left %d users", n)
	}
	must(t, device(t, s, name, false).Close())
	if users := c.Users(); len(users) > 0 {
		t.Errorf("users are left: %v", users)
	}
	give()
	must(t, device(t, s, name, false).Close())
	if users := c.Users(); len(users) > 0 {
		t.Errorf("users are left: %v", users)
	}
}

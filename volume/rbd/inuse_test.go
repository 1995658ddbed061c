package rbd_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/test/rbdmodel"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/rbd"
)

// watched is a Driver whose handles tell of what librbd does not survive: to be closed under a request.
type watched struct {
	rbd.Driver
	t *testing.T

	mu      sync.Mutex
	running int // requests on handles
	broken  int // locks
	closed  bool
	at      map[string]chan struct{} // by what is to be done next: closed to let it go on
}

func watch(t *testing.T, d rbd.Driver) *watched {
	return &watched{Driver: d, t: t, at: map[string]chan struct{}{}}
}

// hold has the next call of that name wait for let.
func (w *watched) hold(op string) (let func()) {
	c := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at[op] = c
	return func() { close(c) }
}

func (w *watched) wait(op string) {
	w.mu.Lock()
	c := w.at[op]
	delete(w.at, op)
	w.mu.Unlock()
	if c != nil {
		<-c
	}
}

func (w *watched) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running += n
}

func (w *watched) idle(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running > 0 {
		w.t.Errorf("%s while %d requests are under way", what, w.running)
	}
}

func (w *watched) OpenData(name string, readonly bool) (rbd.Handle, error) {
	h, err := w.Driver.OpenData(name, readonly)
	if err != nil {
		return nil, err
	}
	return &watchedHandle{h, w}, nil
}

func (w *watched) Open(name, snap string, readonly bool) (rbd.Handle, error) {
	h, err := w.Driver.Open(name, snap, readonly)
	if err != nil {
		return nil, err
	}
	return &watchedHandle{h, w}, nil
}

func (w *watched) Remove(name string) error {
	w.wait("remove")
	return w.Driver.Remove(name)
}

func (w *watched) Close() error {
	w.idle("the connection is closed")
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	return w.Driver.Close()
}

type watchedHandle struct {
	rbd.Handle
	w *watched
}

func (h *watchedHandle) Extents(off, length int64, fn func(off, length int64) bool) error {
	h.w.add(1)
	defer h.w.add(-1)
	h.w.wait("extents")
	return h.Handle.Extents(off, length, fn)
}

func (h *watchedHandle) Resize(size int64) error {
	h.w.add(1)
	defer h.w.add(-1)
	h.w.wait("resize")
	return h.Handle.Resize(size)
}

func (h *watchedHandle) WriteAt(p []byte, off int64) error {
	h.w.add(1)
	defer h.w.add(-1)
	h.w.wait("write")
	return h.Handle.WriteAt(p, off)
}

func (h *watchedHandle) Acquire() error {
	err := h.Handle.Acquire()
	h.w.wait("acquire")
	return err
}

func (h *watchedHandle) Break(owner string) error {
	h.w.mu.Lock()
	h.w.broken++
	h.w.mu.Unlock()
	return h.Handle.Break(owner)
}

func (h *watchedHandle) Close() error {
	h.w.idle("the image is closed")
	h.w.wait("close")
	return h.Handle.Close()
}

// image makes a Store with an image of a volume.
func image(t *testing.T) (*rbdmodel.Cluster, *watched, *rbd.Store, string) {
	t.Helper()
	c := rbdmodel.New()
	w := watch(t, c.Client(nil))
	s := rbd.NewStore(rbd.Config{Pool: "rbd", ServerID: "server"}, w)
	name, _ := s.New(volume.NewID())
	if err := s.Create(name, 1<<20); err != nil {
		t.Fatal(err)
	}
	return c, w, s, name
}

func open(t *testing.T, s *rbd.Store, name string) volume.Device {
	t.Helper()
	d, err := s.OpenDevice(t.Context(), name, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What the Store does with an image that is open, for its own reasons, is over before the image is closed.
func TestCloseWhileItIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, s, name := image(t)
		d := open(t, s, name)
		let := w.hold("extents")
		go s.Measure(name)
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- d.Close() }()
		synctest.Wait()
		let()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The connections stay while something that nobody waits for any more uses them.
func TestCloseOfAClusterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, s, name := image(t)
		d := open(t, s, name)
		let := w.hold("write")
		wrote := make(chan error, 1)
		go func() {
			_, err := d.WriteAt(make([]byte, 512), 0)
			wrote <- err
		}()
		synctest.Wait()
		if d.Close() == nil || s.Close() == nil {
			t.Error("closed, with a request under way")
		}
		let()
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !w.closed {
			t.Error("the connections are never closed")
		}
	})
}

// An image whose opening nobody waited for is closed before it can be opened again: else its lock, which is this server's, would be
// taken for a dead predecessor's, and breaking that shuts this server out of all of its images.
func TestOpenAgainAfterGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, s, name := image(t)
		letAcquire, letClose := w.hold("acquire"), w.hold("close")
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := s.OpenDevice(ctx, name, "", false)
			failed <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-failed; err == nil {
			t.Fatal("opened, though it was given up")
		}
		letAcquire()
		synctest.Wait() // it is being closed now
		if d, err := s.OpenDevice(t.Context(), name, "", false); !fault.Is(err, fault.VolumeInUse) {
			t.Errorf("opened beside itself: %v, %v", d, err)
		}
		if w.broken > 0 {
			t.Error("the server broke its own lock")
		}
		letClose()
		synctest.Wait()
		d := open(t, s, name)
		if _, err := d.WriteAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What goes through all objects of an image takes its time, and is over when the call returns: whoever was told that it failed would write
// to what it cuts off.
func TestWhatTakesLong(t *testing.T) {
	for op, do := range map[string]func(s *rbd.Store, name string) error{
		"resize": func(s *rbd.Store, name string) error { return s.Resize(name, 4096) },
		"remove": (*rbd.Store).Remove,
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, w, s, name := image(t)
				let := w.hold(op)
				done := make(chan error, 1)
				go func() { done <- do(s, name) }()
				<-time.After(10 * time.Minute)
				select {
				case err := <-done:
					t.Fatalf("it ended while the cluster was at it: %v", err)
				default:
				}
				let()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// While the cluster doesn't answer nobody waits longer than the limit for another size, and what nobody waited for does not come after
// what somebody did wait for.
func TestResizeThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, w, s, name := image(t)
		d := open(t, s, name)
		let := w.hold("resize")
		for _, size := range []int64{2 << 20, 1 << 20} { // as it is grown, and that is undone
			if err := s.Resize(name, size); !fault.Is(err, fault.PoolUnavailable) {
				t.Errorf("resize while the cluster hangs: %v", err)
			}
		}
		grown := make(chan error, 1)
		go func() { grown <- s.Resize(name, 3<<20) }()
		synctest.Wait()
		let()
		if err := <-grown; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if size, err := s.Size(name); err != nil || size != 3<<20 {
			t.Errorf("the image has %d bytes, %v", size, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

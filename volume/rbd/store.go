package rbd

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Config says where images are kept, and for whom.
type Config struct {
	Pool     string        // the RADOS pool
	Conf     string        // ceph.conf, or "" for the cluster's default path
	User     string        // without "client.", or "" for admin
	Keyring  string        // a file, or "" for what ceph.conf says
	ServerID string        // noted in images whose lock this server has, and in its snapshots
	Shared   bool          // other servers use the images too: their snapshots are left alone
	Log      *slog.Logger  // nil: nothing is logged
	Changed  func()        // called when Health changed; may be nil, must not block
	Limit    time.Duration // how long any call is waited for at most; default 30 s
	Ping     time.Duration // how often the cluster is asked whether it is there; default 5 s
}

// Store keeps images in one RADOS pool. Its methods may be called at the same time. Where they name an image, it is by the name that
// New and Parse return. Each comes back within Config.Limit, but for those that copy or flatten, which end with their context, and those that remove data,
// which take as long as the cluster answers.
type Store struct {
	cfg Config
	d   Driver
	run chan struct{} // a place for each request that waits for the cluster, of all Devices together

	mu     sync.Mutex
	open   map[string]*Device       // by image; those that may write
	copied map[string][]string      // by image: the snapshots of it that are in use
	doomed map[string]bool          // images that are to be removed when they are copied no more
	sizing map[string]chan struct{} // by image: full while it gets another size

	usage  usage
	health health
	stop   context.CancelFunc
	work   sync.WaitGroup
	calls  sync.WaitGroup // of during, waited for or not
}

func (cfg Config) withDefaults() Config {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Limit == 0 {
		cfg.Limit = 30 * time.Second
	}
	if cfg.Ping == 0 {
		cfg.Ping = 5 * time.Second
	}
	return cfg
}

// maxRequests bounds the requests to the cluster that run at once, of all Devices together.
const maxRequests = 256

// NewStore returns a Store on a Driver, which it closes. Open makes one of the real cluster.
func NewStore(cfg Config, d Driver) *Store {
	cfg = cfg.withDefaults()
	s := &Store{
		cfg: cfg, d: d, run: make(chan struct{}, maxRequests),
		open: map[string]*Device{}, copied: map[string][]string{}, doomed: map[string]bool{}, sizing: map[string]chan struct{}{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.usage.asked = make(chan string, 64)
	s.health.poked = make(chan struct{}, 1)
	s.work.Go(func() { s.watch(ctx) })
	s.work.Go(func() { s.measureAsked(ctx) })
	return s
}

// Close ends the connections to the cluster. Devices must have been closed. What nobody waits for any more, of them too, may use
// the connections still: they are left to it until the cluster answers.
func (s *Store) Close() error {
	s.stop()
	s.work.Wait()
	done := make(chan error, 1)
	go func() {
		s.calls.Wait()
		done <- s.d.Close()
	}()
	timer := time.NewTimer(s.cfg.Limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return classify("part with the cluster", err)
	case <-timer.C:
		return classify("part with the cluster", syscall.ETIMEDOUT)
	}
}

// New names an image for a volume that is not there yet, and returns its data.rbd too.
func (s *Store) New(id volume.ID) (name string, ref []byte) {
	name = newName(id)
	return name, Ref{Cluster: s.d.FSID(), Pool: s.cfg.Pool, Image: name}.Encode()
}

// Parse returns the image that a data.rbd names. One that lies on another cluster or in another pool is refused.
func (s *Store) Parse(ref []byte) (name string, err error) {
	r, err := ParseRef(ref)
	switch {
	case err != nil:
		return "", err
	case r.Cluster != s.d.FSID():
		return "", fault.Errorf(fault.VolumeDamaged, "data.rbd names an image of the Ceph cluster %s, and this pool lies on %s", r.Cluster, s.d.FSID())
	case r.Pool != s.cfg.Pool:
		return "", fault.Errorf(fault.VolumeDamaged, "data.rbd names an image of the Ceph pool %s, and this pool lies in %s", r.Pool, s.cfg.Pool)
	}
	return r.Image, nil
}

// Of returns the volume that an image was made for, by its name.
func (s *Store) Of(name string) (id volume.ID, ok bool) { return VolumeOf(name) }

// Path returns what QEMU calls an image, or with snap its snapshot.
func (s *Store) Path(name, snap string) string {
	path := pathPrefix + s.cfg.Pool + "/" + name
	if snap != "" {
		path += "@" + snap
	}
	return path
}

const pathPrefix = "rbd:"

// FromPath returns the image and the snapshot that a Path names, if it is of this pool.
func (s *Store) FromPath(path string) (name, snap string, ok bool) {
	name, ok = strings.CutPrefix(path, pathPrefix+s.cfg.Pool+"/")
	name, snap, _ = strings.Cut(name, "@")
	return name, snap, ok
}

// bounded waits for a call of librbd no longer than the limit, whatever librbd does. The call goes on.
func (s *Store) bounded(op string, call func() error) error {
	return s.during(context.Background(), op, s.cfg.Limit, call)
}

// during is bounded with a limit of its own, 0 is none, that also ends with ctx. What changes something must not.
func (s *Store) during(ctx context.Context, op string, limit time.Duration, call func() error) error {
	done := make(chan error, 1)
	s.calls.Go(func() { done <- call() })
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late:
		err = syscall.ETIMEDOUT
	}
	if errno(err) == syscall.ETIMEDOUT {
		s.health.poke()
	}
	return classify(op, err)
}

// patient is bounded for what goes through all objects of an image: that may rightly take long, and is waited for as long as the cluster
// answers. It is for calls on the connection whose requests have an end of their own.
func (s *Store) patient(op string, call func() error) error {
	done := make(chan error, 1)
	s.calls.Go(func() { done <- call() })
	tick := time.NewTicker(s.cfg.Limit)
	defer tick.Stop()
	for {
		var err error
		select {
		case err = <-done:
		case <-tick.C:
			if s.Health() == nil {
				s.health.poke()
				continue
			}
			err = syscall.ETIMEDOUT
		}
		if errno(err) == syscall.ETIMEDOUT {
			s.health.poke()
		}
		return classify(op, err)
	}
}

// image calls do with the image open, the open Device's handle if there is one. One that lies in the trash is opened there for
// reading, and brought back for anything else: whoever works on it stands in its place.
func (s *Store) image(name string, readonly bool, do func(h Handle) error) error {
	s.mu.Lock()
	dev := s.open[name]
	s.mu.Unlock()
	if dev != nil && dev.begin() {
		defer dev.end()
		return do(dev.h)
	}
	var h Handle
	var err error
	if readonly {
		h, _, err = s.find(name, true)
	} else {
		h, err = s.placed(name, func() (Handle, error) { return s.d.Open(name, "", false) })
	}
	if err != nil {
		return err
	}
	return errors.Join(do(h), h.Close())
}

// placed opens an image, after it was brought back if it lies in the trash.
func (s *Store) placed(name string, open func() (Handle, error)) (Handle, error) {
	h, err := open()
	if errno(err) != syscall.ENOENT {
		return h, err
	}
	if err := s.untrash(name); err != nil {
		return nil, err
	}
	return open()
}

// find opens an image wherever it lies. id is its id in the trash, or "".
func (s *Store) find(name string, readonly bool) (h Handle, id string, err error) {
	h, err = s.d.Open(name, "", readonly)
	if errno(err) != syscall.ENOENT {
		return h, "", err
	}
	id, terr := s.trashed(name)
	if terr != nil {
		return nil, "", terr
	}
	if id == "" {
		return nil, "", err
	}
	h, err = s.d.OpenTrashed(id)
	return h, id, err
}

// trashed returns the id of an image in the trash, or "".
func (s *Store) trashed(name string) (id string, err error) {
	list, err := s.d.Trashed()
	for _, t := range list {
		if t.Name == name {
			id = t.ID
		}
	}
	return id, err
}

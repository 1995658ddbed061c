package export

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/keylock"
)

// heartbeat is how often markers are touched.
const heartbeat = 5 * time.Second

// Config is what a Service needs. Volumes, Events, Log, ServerID and a Kind are required.
type Config struct {
	Volumes  *volume.Service
	Events   *volume.Events
	Log      *slog.Logger
	ServerID string
	Kinds    []Kind // the first is that of requests that name none
	// Shared reports whether several servers use the pool of a name. Nil: none is.
	Shared func(pool string) bool

	// FenceWait is how long a call waits for the proof that nothing of a removed attachment is under way; default 20 s.
	FenceWait time.Duration
	// LockWait is how long a call waits for another about the same volume; default 5 s.
	LockWait time.Duration

	step         func(op, name string) error // see Store.ask; tests only
	now          func() time.Duration        // instead of the boot time clock; tests only
	takeoverWait time.Duration               // instead of three leases; tests only
}

// Service keeps the attachments of all volumes. Its methods may be called at the same time.
type Service struct {
	cfg    Config
	host   string
	bootID string
	kinds  []Kind
	turns  keylock.Map[volume.ID]
	pen    Pen           // nil: nothing migrates
	poke   chan struct{} // asks Run to look at everything soon

	mu      sync.Mutex
	volumes map[volume.ID]*exported
	names   map[string]pair     // the volumes and clients that names stand for
	past    map[string]Counts   // of attachments that are gone, by kind
	waiting map[volume.ID]error // books that could not be restored yet, and why
	closed  bool
}

// pair is what a name stands for. Names are the exclusive or of the two, and so may be those of another pair.
type pair struct {
	client volume.Client
	id     volume.ID
}

// exported is a volume of which something stands. What is not under Service.mu is changed with the volume's turn only.
type exported struct {
	id      volume.ID
	shared  bool
	beating atomic.Bool
	beaten  atomic.Pointer[time.Time] // when the last good heartbeat was
	dir     *os.Root
	store   *Store
	device  Device // of the first claim; all have the same underneath
	lease   *lease // nil where the pool is ours alone
	units   map[string]Unit

	// under Service.mu
	book        Book
	owner       volume.Client // of the volume
	private     bool
	visit       bool // the volume is another server's, and open here for reading
	wished      bool // the last good heartbeat found a wish beside it
	attachments []*attachment
	ghosts      []Record // that did not stand when they ended, and of which a unit may keep something
}

// attachment is one that stands, or is being fenced. What is not under Service.mu never changes.
type attachment struct {
	gate    *Gate
	at      Attached
	claim   *volume.Opened
	rec     Record // under Service.mu
	fencing bool   // under Service.mu: it is not to stand any more
	keep    bool   // under Service.mu: but its Book is left alone
}

// New returns a Service that exports nothing yet.
func New(cfg Config) (*Service, error) {
	if cfg.Volumes == nil || cfg.Events == nil || cfg.Log == nil || cfg.ServerID == "" || len(cfg.Kinds) == 0 {
		return nil, errors.New("export: Config needs Volumes, Events, Log, ServerID and Kinds")
	}
	if cfg.FenceWait == 0 {
		cfg.FenceWait = 20 * time.Second
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 5 * time.Second
	}
	if cfg.Shared == nil {
		cfg.Shared = func(string) bool { return false }
	}
	if cfg.now == nil {
		cfg.now = bootTime
	}
	if cfg.takeoverWait == 0 {
		cfg.takeoverWait = 3 * leaseFor
	}
	s := &Service{
		cfg: cfg, kinds: slices.Clone(cfg.Kinds), poke: make(chan struct{}, 1),
		volumes: map[volume.ID]*exported{}, names: map[string]pair{}, waiting: map[volume.ID]error{},
		past: map[string]Counts{},
	}
	s.host, _ = os.Hostname() // for people; without it markers are a little poorer
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	s.bootID = string(bytes.TrimSpace(boot))
	return s, err
}

// kind returns the kind of a name, "" for the first.
func (s *Service) kind(name string) (Kind, error) {
	if name == "" {
		return s.kinds[0], nil
	}
	var names []string
	for _, k := range s.kinds {
		if k.Name() == name {
			return k, nil
		}
		names = append(names, k.Name())
	}
	return nil, fault.Errorf(fault.BadRequest, "'type' is %.40q; allowed is %s", name, join(names))
}

func join(words []string) string {
	var b bytes.Buffer
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(w)
	}
	return b.String()
}

// turn takes the volume for one change of its exports.
func (s *Service) turn(ctx context.Context, id volume.ID) (done func(), err error) {
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.LockWait, errTurnWait)
	defer cancel()
	done, err = s.turns.Lock(wait, id)
	if err != nil && ctx.Err() == nil {
		return nil, fault.Errorf(fault.VolumeAlreadyLocked, "the exports of volume %s are being changed by another call; try again when that has ended", id)
	}
	return done, err
}

var errTurnWait = errors.New("another change of the volume's exports did not end in time")

// find returns what stands of a volume, or nil.
func (s *Service) find(id volume.ID) *exported {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.volumes[id]
}

// standing returns the attachments of e, those that are being fenced too.
func (s *Service) standing(e *exported) []*attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(e.attachments)
}

// all returns the volumes of which something stands.
func (s *Service) all() []*exported {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*exported, 0, len(s.volumes))
	for _, e := range s.volumes {
		list = append(list, e)
	}
	return list
}

// claimName takes a name for a pair. False says that it is another pair's, which is returned.
func (s *Service) claimName(name string, p pair) (pair, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, taken := s.names[name]; taken && other != p {
		return other, false
	}
	s.names[name] = p
	return p, true
}

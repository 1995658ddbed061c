package pool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"elstore/volume/durable"
	"elstore/volume/fault"
)

// lockPatience is how long a shared pool's lock is waited for: its holders have it for moments.
const lockPatience = 5 * time.Second

// shared is a server's way to the ledger of a pool that other servers use too.
type shared struct {
	root  *os.Root
	key   string // of this server, in the ledger
	self  Holder
	lock  *lock         // LockFile, taken around every use of the ledger
	turn  chan struct{} // full while a goroutine of this process has the lock, or tries to
	alive *lock         // held for as long as this server uses the pool

	joined int64 // the ledger's sequence when this server came
}

// serverKey names a server in a ledger and in file names, whatever its id looks like.
func serverKey(server string) string {
	sum := sha256.Sum256([]byte(server))
	return hex.EncodeToString(sum[:8])
}

// isServerKey reports whether serverKey could have made key. A name of a file is made of it.
func isServerKey(key string) bool {
	raw, err := hex.DecodeString(key)
	return err == nil && hex.EncodeToString(raw) == key && len(raw) == 8
}

// aliveFile is the file that a server keeps locked while it uses a shared pool.
func aliveFile(key string) string { return ".elstore-server-" + key }

func newShared(root *os.Root, server string) *shared {
	key := serverKey(server)
	return &shared{
		root: root, key: key, self: self(server),
		lock: newLock(root, LockFile), turn: make(chan struct{}, 1), alive: newLock(root, aliveFile(key)),
	}
}

// begin takes the lock and reads the ledger, which is nil if there is none that can be understood. end must follow.
func (s *shared) begin(ctx context.Context) (*ledger, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, errPatience)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, s.busy(ctx)
	}
	ok, err := s.lock.wait(ctx)
	if err == nil && !ok {
		err = s.busy(ctx)
	}
	if err != nil {
		<-s.turn
		return nil, err
	}
	l, err := readLedger(s.root)
	if err != nil {
		_ = s.end(nil)
		return nil, err
	}
	return l, nil
}

// end writes the ledger, unless it is nil, and gives the lock back.
func (s *shared) end(l *ledger) error {
	var err error
	if l != nil {
		l.Sequence++
		err = durable.WriteFile(s.root, LedgerFile, l.encode(), 0o600)
	}
	s.lock.unlock()
	<-s.turn
	return err
}

var errPatience = errors.New("the pool's lock did not become free in time")

// busy says why the lock could not be had.
func (s *shared) busy(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, errPatience) {
		return err
	}
	return heldBy(holder(s.root, LockFile))
}

// readLedger reads the ledger as it is now. It is nil if there is none, or none that can be understood.
func readLedger(root *os.Root) (*ledger, error) {
	f, err := root.OpenFile(LedgerFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.FromOS("read "+LedgerFile, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLedger+1))
	if err != nil {
		return nil, fault.FromOS("read "+LedgerFile, err)
	}
	l, err := parseLedger(data)
	if err != nil {
		return nil, nil // it is written anew from what the servers know
	}
	return l, nil
}

// newLedger starts a ledger whose sequence no older one had.
func newLedger() *ledger {
	return &ledger{Sequence: time.Now().UnixMicro(), Servers: map[string]entry{}}
}

// join enters this server in the ledger. The first that comes finds it incomplete, since nobody kept it.
func (s *shared) join(ctx context.Context) error {
	l, err := s.begin(ctx)
	if err != nil {
		return err
	}
	ok, err := s.alive.try()
	if err == nil && !ok {
		err = fault.Errorf(fault.PoolUnavailable, "another process uses it with this server's id %s", s.self.Server)
	}
	if err != nil {
		return errors.Join(err, s.end(nil))
	}
	if l == nil {
		l = newLedger()
	}
	l.prune(s.root, s.key)
	l.drop(s.key) // what this server left when it crashed
	if len(l.Servers) == 0 {
		l.Complete, l.Counts = false, tally{}
	}
	l.Servers[s.key] = entry{Holder: s.self}
	if err := s.end(l); err != nil {
		s.alive.unlock()
		return err
	}
	s.joined = l.Sequence
	return nil
}

// settle checks the ledger against what the directory held when this server read it: that is what counts if nobody changed
// anything meanwhile, or nobody else knows.
func (s *shared) settle(ctx context.Context, counted func() tally) error {
	l, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if l == nil {
		l = newLedger()
	}
	made, reserved := l.others(s.key)
	made = made.minus(l.Counts)
	if there := counted(); !l.Complete || l.Sequence == s.joined && reserved == (tally{}) {
		l.Complete, l.Counts = true, there.minus(made)
	}
	l.Servers[s.key] = entry{Holder: s.self}
	return s.end(l)
}

// leave takes this server out of the ledger. If it can't, the others will, as the lock that shows it alive is free.
func (s *shared) leave(ctx context.Context) error {
	l, err := s.begin(ctx)
	if err != nil {
		s.alive.unlock()
		return err
	}
	if l != nil {
		l.drop(s.key)
	}
	_ = s.root.Remove(s.alive.name)
	s.alive.unlock()
	return s.end(l)
}

// prune drops the servers that are gone, but for own. The caller has the ledger's lock. It reports whether there were any.
func (l *ledger) prune(root *os.Root, own string) bool {
	dropped := false
	for key := range l.Servers {
		if key != own && !alive(root, key) {
			l.drop(key)
			_ = root.Remove(aliveFile(key)) // a name that nobody uses
			dropped = true
		}
	}
	return dropped
}

// alive reports whether a server uses a pool. The caller has the ledger's lock, without which nobody comes or goes.
func alive(root *os.Root, key string) bool {
	name := aliveFile(key)
	if _, err := root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return false
	}
	l := newLock(root, name)
	free, err := l.try()
	if free {
		l.unlock()
	}
	return err != nil || !free
}

// sharer returns one of the servers that share a pool now, if there are any. The caller has the ledger's lock.
func sharer(root *os.Root) (Holder, bool) {
	l, err := readLedger(root)
	if err != nil || l == nil {
		return Holder{}, false
	}
	for key, e := range l.Servers {
		if alive(root, key) {
			return e.Holder, true
		}
	}
	return Holder{}, false
}

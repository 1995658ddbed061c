package pool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"elstore/volume/fault"
)

// LockFile is the file in a pool whose flock says who uses the pool. It is never renamed or removed.
const LockFile = ".elstore-lock"

// lockRetry is how often a lock that another process holds is tried again.
const lockRetry = 2 * time.Millisecond

// ownLockWait is how long a server waits for what a killed process of its own leaves locked: it takes milliseconds.
const ownLockWait = 5 * time.Second

// Holder describes who holds a pool, for people: the lock decides, not this.
type Holder struct {
	Host   string    `json:"host"`
	BootID string    `json:"boot_id,omitempty"`
	PID    int       `json:"pid"`
	Since  time.Time `json:"since"`
	Server string    `json:"server_id"`
}

// String names the holder in a sentence.
func (h Holder) String() string {
	if h == (Holder{}) {
		return "another server"
	}
	return "server " + h.Server + " on " + h.Host + " (process " + strconv.Itoa(h.PID) + ", since " + h.Since.UTC().Format(time.RFC3339) + ")"
}

// self describes this process.
func self(server string) Holder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it the description is a little poorer
	return Holder{
		Host: host, BootID: string(bytes.TrimSpace(boot)), PID: os.Getpid(),
		Since: time.Now().UTC().Truncate(time.Second), Server: server,
	}
}

// lock is a flock on a file in a pool's directory.
type lock struct {
	root *os.Root
	name string
	file *flock.Flock
}

// newLock returns a lock that is not taken yet. The file is opened by its path, since that is what the library
// takes, never through a symbolic link, and checked against root once it is locked. It is opened for reading, so
// that the file system can be made read-only; where locking needs more (NFS), the library opens it again.
func newLock(root *os.Root, name string) *lock {
	return &lock{root: root, name: name, file: flock.New(filepath.Join(root.Name(), name),
		flock.SetFlag(os.O_RDONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK), flock.SetPermissions(0o600))}
}

// try takes the lock if it is free.
func (l *lock) try() (bool, error) {
	ok, err := l.file.TryLock()
	return l.taken(ok, err)
}

// wait takes the lock as soon as it is free. ok is false if ctx ended first.
func (l *lock) wait(ctx context.Context) (bool, error) {
	ok, err := l.file.TryLockContext(ctx, lockRetry)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return false, nil
	}
	return l.taken(ok, err)
}

// taken makes sure that what was locked is the pool's file.
func (l *lock) taken(ok bool, err error) (bool, error) {
	switch {
	case errors.Is(err, syscall.ELOOP):
		return false, fault.Errorf(fault.PoolUnavailable, "%s is a symbolic link; it must be a file", l.name)
	case err != nil:
		return false, fault.Errorf(fault.PoolUnavailable, "%s can't be locked: %s", l.name, cause(err))
	case ok && !l.held():
		_ = l.file.Unlock()
		return false, fault.Errorf(fault.PoolUnavailable, "%s is not a regular file, or was replaced while it was locked", l.name)
	}
	return ok, nil
}

// held reports whether the file that was locked is still the one in the pool.
func (l *lock) held() bool {
	if !l.file.Locked() {
		return false
	}
	mine, err := l.file.Stat()
	if err != nil {
		return false
	}
	there, err := l.root.Lstat(l.name)
	return err == nil && there.Mode().IsRegular() && os.SameFile(mine, there)
}

// describe writes into the locked file who holds it.
func (l *lock) describe(h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return l.write(append(data, '\n'))
}

// write replaces the content in place: the lock is on the file, so it can't be replaced by another.
func (l *lock) write(data []byte) error {
	f, err := l.root.OpenFile(l.name, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fault.FromOS("write "+l.name, err)
	}
	_, err = f.Write(data)
	return fault.FromOS("write "+l.name, firstOf(err, f.Close()))
}

// unlock gives the lock back. One that is not held stays so.
func (l *lock) unlock() { _ = l.file.Unlock() }

// holder reads who holds a lock. It is empty where the file doesn't say.
func holder(root *os.Root, name string) Holder {
	const most = 4096
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Holder{}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return Holder{}
	}
	return parseHolder(data)
}

// parseHolder reads the content of a lock file, empty if it can't be understood. Pure.
func parseHolder(data []byte) Holder {
	var h Holder
	if json.Unmarshal(data, &h) != nil {
		return Holder{}
	}
	return h.clean()
}

// clean drops what can't be shown in a sentence: these files may have been written by anybody.
func (h Holder) clean() Holder {
	const most = 128
	for _, text := range []*string{&h.Host, &h.BootID, &h.Server} {
		*text = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, (*text)[:min(len(*text), most)])
	}
	return h
}

// lockForLife takes the pool for this server alone. The error says who holds it.
func lockForLife(ctx context.Context, root *os.Root, server string) (*lock, Holder, error) {
	l := newLock(root, LockFile)
	ok, err := l.try()
	if err != nil {
		return nil, Holder{}, err
	}
	by := holder(root, LockFile)
	if !ok && by.Server == server {
		// This server's last process was killed while it started a program, which has the descriptor until it runs.
		ctx, cancel := context.WithTimeout(ctx, ownLockWait)
		defer cancel()
		if ok, err = l.wait(ctx); err != nil {
			return nil, Holder{}, err
		}
	}
	if !ok {
		return nil, by, heldBy(by)
	}
	// Servers that share the pool hold this lock for moments only.
	if by, shared := sharer(root); shared {
		l.unlock()
		return nil, by, heldBy(by)
	}
	if err := l.describe(self(server)); err != nil {
		l.unlock()
		return nil, Holder{}, err
	}
	return l, Holder{}, nil
}

func heldBy(h Holder) error {
	return fault.Errorf(fault.PoolUnavailable, "it is held by %s", h)
}

// release ends a lock for life.
func (l *lock) release() {
	if l.held() {
		_ = l.write(nil) // the description is advice, and the lock is free all the same
	}
	l.unlock()
}

package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// locks are the volumes that this Backend holds. One flock per volume serves its operation and its open Devices: two
// descriptors of one process would exclude each other as those of two processes do.
//
// golang.org/x/sys is used where gofrs/flock would be shorter: that opens its file through symbolic links and
// keeps the descriptor to itself, which children must inherit.
type locks struct {
	mu sync.Mutex
	m  map[volume.ID]*lock
}

// lock is one volume's. Its fields but turn are guarded by locks.mu.
type lock struct {
	turn    chan struct{} // holds a token while no operation of this process is at the volume
	purpose string        // of the operation that is
	file    *os.File      // the flocked .lock, nil while nobody here holds it
	holders int           // the operation and the Devices that share file
	users   int           // those, and whoever waits
}

func (l *locks) use(id volume.ID) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.m[id]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		if l.m == nil {
			l.m = map[volume.ID]*lock{}
		}
		l.m[id] = k
	}
	k.users++
	return k
}

func (l *locks) leave(id volume.ID, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.m, id)
	}
}

// join makes the caller a holder of the flock if this process has it. With file it brings that in.
func (l *locks) join(k *lock, file *os.File) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if file != nil {
		k.file = file
	}
	if k.file == nil {
		return false
	}
	k.holders++
	return true
}

// part ends what join began. The last closes the descriptor and never unlocks it: a child that still has it
// keeps the lock.
func (l *locks) part(k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.holders--; k.holders == 0 {
		k.file.Close() //nolint:errcheck,gosec // nothing was written
		k.file = nil
	}
}

// doing notes, or with "" forgets, what the operation that has the turn does.
func (l *locks) doing(k *lock, purpose string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.purpose = purpose
}

func (l *locks) purpose(k *lock) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.purpose == "" {
		return "another operation"
	}
	return k.purpose
}

// busy is the error of a lock that did not become free.
func busy(id volume.ID, holder string) error {
	return fault.Errorf(fault.VolumeAlreadyLocked, "volume %s is locked by %s; try again when that has ended", id, holder)
}

// flock waits for the lock of the volume in d until ctx ends. The error is errHeld if it did not become free.
func (d *dir) flock(ctx context.Context) (*os.File, error) {
	f, err := d.openOrNew(lockName)
	if err != nil {
		return nil, fault.FromOS("open the volume's lock", err)
	}
	if err := flockWait(ctx, f, unix.LOCK_EX); err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, err
	}
	return f, nil
}

// errHeld says that somebody else holds a flock.
var errHeld = errors.New("the lock is held")

// The pauses between two looks at a flock that is held. The kernel can wait by itself, but not for a context.
const (
	firstPause = time.Millisecond
	longPause  = 100 * time.Millisecond
)

// flockWait takes the flock of how, LOCK_EX or LOCK_SH, or fails with errHeld when ctx ends.
func flockWait(ctx context.Context, f *os.File, how int) error {
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		err := flockNow(f, how)
		if !errors.Is(err, errHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return errHeld
		case <-timer.C:
		}
		pause = min(2*pause, longPause)
		timer.Reset(pause)
	}
}

// flockNow takes the flock or fails with errHeld.
func flockNow(f *os.File, how int) error {
	err := retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return fault.FromOS("lock", err)
}

// unlock gives up a flock that no child was given. Closing alone would leave it for the moment in which somebody's
// child, on its way to its own program, still has all of our descriptors.
func unlock(f *os.File) {
	_ = retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }) // closing does it too
	f.Close()                                                                //nolint:errcheck,gosec // nothing was written
}

// linked reports whether the open file still has a name: one that lost it between its opening and its locking
// locks nothing.
func linked(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 0
}

// take takes the volume's flock, or joins the one that this process has, and returns its directory as it is then.
func (b *Backend) take(ctx context.Context, id volume.ID, k *lock) (d *dir, inBin bool, err error) {
	for {
		if d, inBin, err = b.find(id); err != nil {
			return nil, false, err
		}
		if b.locks.join(k, nil) {
			return d, inBin, nil
		}
		f, err := d.flock(ctx)
		if errors.Is(err, errHeld) {
			defer d.close()
			return nil, false, busy(id, d.holder())
		}
		if err != nil && d.gone() {
			d.close()
			continue
		}
		if err != nil {
			d.close()
			return nil, false, err
		}
		// While we waited it may have been moved, or removed, and another made in its place.
		now, inBin, err := b.find(id)
		if err == nil && now.same(d) {
			d.close()
			b.locks.join(k, f)
			return now, inBin, nil
		}
		if err == nil {
			now.close()
		}
		d.close()
		f.Close() //nolint:errcheck,gosec // nothing was written
		if err != nil {
			return nil, false, err
		}
	}
}

// find opens a volume's directory, in the pool or in its bin. It looks twice, since the volume may be moved between
// two looks.
func (b *Backend) find(id volume.ID) (d *dir, inBin bool, err error) {
	for _, in := range []string{".", binName, ".", binName} {
		d, err := b.pool.volume(in, id)
		if err == nil {
			return d, b.inBinNow(d, in), nil
		}
		if !missing(err) {
			return nil, false, fault.FromOS("open volume", err)
		}
	}
	return nil, false, fault.Errorf(fault.VolumeNotFound, "no volume %s: %w", id, fs.ErrNotExist)
}

// volume opens the directory of the volume that stands in the directory in, "." or the bin.
func (d *dir) volume(in string, id volume.ID) (*dir, error) {
	v, err := d.sub(path.Join(in, volumeName(id)))
	if err != nil {
		return nil, err
	}
	if _, err := v.root.Lstat(metaName); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// missing reports whether err says that there is no directory of that name; a file or link in its place is none.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// same reports whether both are one directory.
func (d *dir) same(o *dir) bool {
	a, err := d.fd.Stat()
	if err != nil {
		return false
	}
	b, err := o.fd.Stat()
	return err == nil && os.SameFile(a, b)
}

// gone reports whether the directory was removed.
func (d *dir) gone() bool {
	info, err := d.fd.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

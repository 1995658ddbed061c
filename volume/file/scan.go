package file

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume"
	"elstore/volume/fault"
)

// place is a volume's directory as Scan found it.
type place struct {
	id volume.ID
	in string // "." or the bin
}

// Scan recovers what a crash left behind and reports every volume.
//
// Most volumes are whole and quiet: several workers look at them, in as few system calls as can be, and take no lock. The others
// come at the end, when all that can be waited for together is waited for.
func (b *Backend) Scan(ctx context.Context, yield func(volume.Found) error) error {
	there, err := b.listBases()
	if err != nil {
		return err
	}
	b.bases.begin(there)
	r := &reporter{b: b, yield: yield}
	places, err := b.sweepPool(ctx, r)
	if err != nil {
		return err
	}
	if err := b.lookAtAll(ctx, places, r); err != nil {
		return err
	}
	if err := b.settleAll(ctx, r); err != nil {
		return err
	}
	if b.cfg.Images != nil {
		if err := b.cfg.Images.Sweep(); err != nil {
			b.cfg.Log.Warn("images on the cluster not swept", slog.Any("pool", b.pool.path), slog.Any("error", err))
		}
	}
	return b.sweepBases(b.bases.end(r.blind))
}

// sweepPool removes volumes that were never finished, or are half removed, and lists the others.
func (b *Backend) sweepPool(ctx context.Context, r *reporter) ([]place, error) {
	var work sync.WaitGroup
	defer work.Wait()
	var places []place
	for _, in := range []string{".", binName} {
		names, err := b.pool.namesIn(in)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if id, ok := parseVolumeName(name); ok {
				places = append(places, place{id, in})
			}
			if strings.HasPrefix(name, purgePrefix) {
				b.bury(ctx, path.Join(in, name))
			}
			if id, ok := parseStageName(name); ok && in == "." && !b.making(id) {
				work.Go(func() { r.fail(b.sweepStage(ctx, name)) })
			}
		}
		if in == "." {
			if err := b.pool.sweepTemps(names, false); err != nil {
				return nil, err
			}
		}
	}
	return places, nil
}

// stageWait is how long the maker of a half-made volume is waited for. It only has to cover the moment in which a
// child of ours, on its way to its own program, has all of our descriptors: what is swept later does no harm.
const stageWait = time.Second

// sweepStage removes a volume in the making if nobody is making it.
func (b *Backend) sweepStage(ctx context.Context, name string) error {
	d, err := b.pool.sub(name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fault.FromOS("sweep a half-made volume", err)
	}
	defer d.close()
	wait, cancel := context.WithTimeout(ctx, stageWait)
	defer cancel()
	lock, err := d.flock(wait)
	if errors.Is(err, errHeld) {
		return nil
	}
	if err != nil {
		return ignoreMissing(err)
	}
	defer lock.Close() //nolint:errcheck // nothing was written
	now, err := b.pool.sub(name)
	if err != nil {
		return ignoreMissing(err) // it was finished, and moved into its place, before we had the lock
	}
	defer now.close()
	if !now.same(d) {
		return nil
	}
	b.bury(ctx, name)
	return nil
}

// reporter passes on what was found, one at a time. Its methods may be called at the same time.
type reporter struct {
	b     *Backend
	yield func(volume.Found) error

	mu    sync.Mutex
	err   error   // what ends the scan
	odd   []place // what is to be recovered
	blind bool    // a volume was found of which it is not known what base image it needs
}

func (r *reporter) report(f volume.Found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	r.blind = r.blind || f.Problem != nil
	r.b.bases.uses(f.ID, f.Meta.Base)
	r.err = r.yield(f)
}

// fail ends the scan with err, if it is one.
func (r *reporter) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *reporter) later(p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.odd = append(r.odd, p)
}

// ended returns what ended the scan before its end, or nil.
func (r *reporter) ended(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && ctx.Err() != nil {
		r.err = context.Cause(ctx)
	}
	return r.err
}

// lookAtAll reports the volumes that are quiet and puts off the others.
func (b *Backend) lookAtAll(ctx context.Context, places []place, r *reporter) error {
	const most, batch = 8, 64
	var work sync.WaitGroup
	batches := slices.Chunk(places, batch)
	todo := make(chan []place)
	for range min(max(runtime.GOMAXPROCS(0), 2), most) {
		work.Go(func() {
			l := newLooker(b)
			for some := range todo {
				for _, p := range some {
					switch f, verdict := l.look(p); verdict {
					case quiet:
						r.report(f)
					case odd:
						r.later(p)
					case half:
						if !b.making(p.id) {
							r.fail(b.sweepHalf(ctx, p.id))
						}
					case none:
					}
				}
			}
		})
	}
	for some := range batches {
		if r.ended(ctx) != nil {
			break
		}
		todo <- some
	}
	close(todo)
	work.Wait()
	return r.ended(ctx)
}

// settleAll recovers volumes that a crash left behind and reports them. Who still holds one of them is waited
// for, all of them together.
func (b *Backend) settleAll(ctx context.Context, r *reporter) error {
	wait, cancel := context.WithTimeout(ctx, b.cfg.settleWait)
	defer cancel()
	const atOnce = 16
	room := make(chan struct{}, atOnce)
	var work sync.WaitGroup
	for _, p := range r.odd { // nobody adds to it any more
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			if f, err := b.settleOne(wait, p); err == nil {
				r.report(f)
			}
		})
	}
	work.Wait()
	return r.ended(ctx)
}

// settleOne returns an error if there is no volume any more.
func (b *Backend) settleOne(ctx context.Context, p place) (volume.Found, error) {
	ok, serr := b.settleAlone(ctx, p.in, p.id)
	if errors.Is(serr, fs.ErrNotExist) {
		return volume.Found{}, serr
	}
	d, err := b.pool.volume(p.in, p.id)
	if err != nil {
		return volume.Found{}, err
	}
	defer d.close()
	f, err := b.load(d, p.id, b.inBinNow(d, p.in))
	switch {
	case err != nil:
		return f, err
	case b.clusterGone(serr):
		b.cfg.Log.Warn("volume not recovered yet", slog.Any("volume", p.id), slog.Any("error", serr))
	case serr != nil:
		b.cfg.Log.Error("volume not recovered", slog.Any("volume", p.id), slog.Any("error", serr))
		f.Problem = fault.Errorf(fault.VolumeDamaged, "volume %s was left behind by a crash and can't be recovered: %w", p.id, serr)
	case !ok:
		f.Problem = busy(p.id, d.holder())
	}
	return f, nil
}

// sweepBases removes base images that nobody needs, and what was left of making some.
func (b *Backend) sweepBases(unused []string) error {
	d, err := b.pool.sub(baseName)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fault.FromOS("sweep base images", err)
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return err
	}
	if err := d.sweepTemps(names, false); err != nil {
		return err
	}
	for _, name := range unused {
		if err := b.dropBase(name); err != nil && !errors.Is(err, errHeld) {
			return err
		}
	}
	return nil
}

// looker looks at volumes, for one worker.
type looker struct {
	b    *Backend
	buf  []byte // for names
	list []string
}

func newLooker(b *Backend) *looker { return &looker{b: b, buf: make([]byte, 4096)} }

// verdict is what a look at a volume came to.
type verdict int

const (
	quiet verdict = iota // it can be reported
	odd                  // a crash left something behind, or somebody is at work
	none                 // there is no volume
	half                 // there is what a crash left of making or purging one
)

// look reads one volume.
func (l *looker) look(p place) (volume.Found, verdict) {
	f := volume.Found{ID: p.id}
	fd, err := l.open(p)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return f, none
	case err != nil:
		return damaged(f, volumeName(p.id), err), quiet
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var c contents
	if err := l.contents(fd, &c); errors.Is(err, unix.ENOENT) {
		return f, none // it was removed under us
	} else if err != nil {
		return damaged(f, volumeName(p.id), err), quiet
	}
	standing := l.b.maker.inPlace() && p.in == "."
	inBin := p.in == binName || standing && c.deleted
	switch {
	case standing && c.half():
		return f, half
	case !c.meta:
		return f, none
	case c.odd(inBin):
		return f, odd
	}
	if f, err = look(fd, p.id, l.b.hasBase); err != nil {
		return f, odd // what was there a moment ago is not
	}
	f = l.b.clustered(f)
	f.Records = c.records
	if c.iso && f.Meta.Format == volume.ISO {
		f.ISOType = lookAtISO(fd)
	}
	if inBin {
		f = lookInBin(fd, f)
	}
	return f, quiet
}

func (l *looker) open(p place) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	return unix.Openat(int(l.b.pool.fd.Fd()), path.Join(p.in, volumeName(p.id)), flags, 0)
}

// contents lists a directory, as dir.contents does, with less ado.
func (l *looker) contents(fd int, c *contents) error {
	for {
		n, err := unix.ReadDirent(fd, l.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		_, _, l.list = unix.ParseDirent(l.buf[:n], -1, l.list[:0])
		for _, name := range l.list {
			c.sort(name)
		}
	}
}

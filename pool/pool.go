package pool

import (
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"elstore/volume"
)

// Pool is a directory that holds volumes, from when it was found until it is gone. One that comes back is another
// Pool of the same name. Its methods may be called at the same time.
type Pool struct {
	set  *Set
	name string
	rel  string      // its path below the root
	path string      // its absolute path
	dir  fs.FileInfo // which directory it is
	ceph bool        // its images take their room from a cluster, not from the file system

	// What follows is guarded by set.mu. root to shared stay as they are once the pool is attached.
	settings Settings
	phase    phase
	reason   error  // why no new volumes are put here, or nil
	heldBy   Holder // who holds it, if that is the reason
	refused  int    // how often it could not be attached since it was found, or attached last
	suspect  bool   // its storage failed, and was not seen to work since
	caps     volume.Caps

	root    *os.Root
	storage *storage
	life    *lock   // held for life, nil if shared
	shared  *shared // nil if not

	use      volume.Usage // volumes in the directory, as far as this server knows
	base     int64        // bytes of base images
	reserved tally        // by operations of this server that are under way

	// In a shared pool:
	counted         bool      // the directory was counted, and what changes now is this server's doing
	made            tally     // what this server added to the use and took from it since
	shunned         time.Time // until then it is not asked for room, as its lock was not free for long
	told            tally     // made as the ledger last had it
	othersUse       tally     // the use without what this server made, as the ledger last said
	othersReserved  tally
	change, flushed int64 // numbers of this server's changes: the last one, and the last that the ledger has

	reported string        // what was last said about its validity
	modified time.Time     // when the directory had last changed when its volumes were last looked at
	cancel   func()        // ends attach, and then keep
	done     chan struct{} // closed when attach has ended, nil while none runs
	stopped  chan struct{} // closed when keep has ended
	poked    chan struct{} // full when its volumes are to be looked at again
}

// phase is how far a Pool has come.
type phase uint8

const (
	found     phase = iota // not in use, for the reason
	attaching              // its volumes are being read
	attached               // in use
	leaving                // going out of use
	gone                   // out of use for good
)

var _ volume.Pool = (*Pool)(nil)

// Name returns the pool's name, unique in the Set. It never changes.
func (p *Pool) Name() string { return p.name }

// Path returns the absolute path of the pool's directory.
func (p *Pool) Path() string { return p.path }

// Settings returns what settings.json says now, or said when it could last be understood.
func (p *Pool) Settings() Settings {
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	return p.settings
}

// Bin returns how long deleted volumes are kept, and whether they are kept even when room is needed.
func (p *Pool) Bin() (retention time.Duration, keep bool) {
	s := p.Settings()
	return s.BinRetention, s.BinKeep
}

// Account changes the use that counts against the limits, outside of a reservation: this server did it. While
// the pool is being attached it says what was found.
func (p *Pool) Account(change volume.Usage) { p.account(change, true) }

// Observe is Account for what this server came upon and did not do: in a shared pool another one may have done
// it, and then the ledger counts it already.
func (p *Pool) Observe(change volume.Usage) { p.account(change, false) }

func (p *Pool) account(change volume.Usage, own bool) {
	p.set.mu.Lock()
	p.use.Volumes += change.Volumes
	p.use.Bytes += change.Bytes
	p.use.BinVolumes += change.BinVolumes
	p.use.BinBytes += change.BinBytes
	number := int64(0)
	if own {
		number = p.make(tally{Volumes: int64(change.Volumes), Bytes: change.Bytes})
	}
	p.set.mu.Unlock()
	p.flush(number)
}

// SetBase tells the bytes of base images, which count against max-total-size too.
func (p *Pool) SetBase(bytes int64) {
	p.set.mu.Lock()
	number := p.make(tally{Bytes: bytes - p.base})
	p.base = bytes
	p.set.mu.Unlock()
	p.flush(number)
}

// Unwell tells that the storage failed under an operation, so that the pool is checked again soon.
func (p *Pool) Unwell(err error) {
	p.set.log.Warn("storage failed, the pool will be checked", slog.String("pool", p.name), slog.Any("error", err))
	p.set.mu.Lock()
	p.suspect = true
	p.set.mu.Unlock()
	p.set.hurry()
}

// make notes what this server did to the pool's use, and returns the number of the change for flush, 0 if there
// is nothing to tell the ledger. The caller holds set.mu.
func (p *Pool) make(change tally) int64 {
	if !p.counted || change == (tally{}) {
		return 0
	}
	p.made = p.made.plus(change)
	p.change++
	return p.change
}

// why says why no new volumes may be put here, "" if they may. The caller holds set.mu.
func (p *Pool) why() string {
	switch {
	case p.phase == leaving || p.phase == gone:
		return "it is going out of use"
	case p.reason != nil:
		return p.reason.Error()
	case p.phase == attaching:
		return "its volumes are being read"
	case p.phase == found:
		return "it will be taken into use when what lay in its place is out of use"
	}
	return ""
}

// seen is the use as this server knows the directory. The caller holds set.mu.
func (p *Pool) seen() tally {
	return tally{Volumes: int64(p.use.Volumes), Bytes: p.use.Bytes + p.base}
}

// used is the pool's use. The caller holds set.mu.
func (p *Pool) used() tally { return p.atLeast(p.othersUse.plus(p.made)) }

// taken is what counts against the limits: the use and all reservations. The caller holds set.mu.
func (p *Pool) taken() tally {
	return p.atLeast(p.othersUse.plus(p.made).plus(p.othersReserved)).plus(p.reserved)
}

// atLeast returns what the ledger of a shared pool says, or what this server sees where that is more: the ledger
// does not know what people put there by hand, and this server does not know yet what others made last.
func (p *Pool) atLeast(all tally) tally {
	t := p.seen()
	if p.shared != nil {
		t.Volumes, t.Bytes = max(t.Volumes, all.Volumes), max(t.Bytes, all.Bytes)
	}
	return t
}

// valid reports whether new volumes may be put here. The caller holds set.mu.
func (p *Pool) valid() bool { return p.phase == attached && p.reason == nil }

// keeps reports whether volumes can have the format here. The caller holds set.mu.
func (p *Pool) keeps(f volume.Format) bool {
	return f == "" || slices.Contains(p.caps.Formats, f)
}

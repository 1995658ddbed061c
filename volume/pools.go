package volume

import (
	"context"
	"time"
)

// Pools finds room for volumes. pool.Set satisfies it.
type Pools interface {
	// Reserve takes room for all of wants, or for none: then the error is VolumeAvailablePathNotFound (no valid
	// pool), PoolNotFound, PoolUnavailable or VolumeNotAllocable, and says for every pool why not. Check and reservation
	// are one critical section, so that no race over-commits. A pool that would fit if its bin were empty
	// is tried last: then empty is called, outside that section, to purge the oldest in its bin, and
	// everything is tried again; empty reports whether it freed anything. A nil empty forbids that.
	Reserve(ctx context.Context, wants []Want, empty func(ctx context.Context, pool string) (bool, error)) ([]Reservation, error)
	// Count returns how many pools could take want now, the bin counted as free where it may be emptied.
	Count(ctx context.Context, want Want) (int, error)
	// Fit reports whether all of wants could be placed together now.
	Fit(ctx context.Context, wants []Want) (bool, error)
}

// Want is room that a call needs.
type Want struct {
	Pool    string // the pool it must be in, or "" for the best one
	Volumes int    // volumes it adds: 1 for a new one, 0 for growth
	Size    int64  // the volume's virtual size afterwards, in bytes, held against max-volume-size
	Bytes   int64  // virtual bytes it adds, held against max-total-size
	Write   int64  // bytes it writes now, held against the file system's free space less the pool's reserve
	Format  Format // a pool that can't keep it is not chosen

	Within []string // the pools it may be in; nil is all. To whoever asks, others are not there.
}

// Reservation is room that was taken and is not yet used. Its methods may be called in any goroutine.
type Reservation interface {
	// Pool returns the name of the pool that was chosen.
	Pool() string
	// Keep turns the reservation into use: volumes and virtual bytes that count from now on, at most what was
	// reserved. The bytes to write are free to others again, since the file system counts them itself now.
	Keep(volumes int, bytes int64)
	// Wrote frees the bytes to write for others, because they were written: the file system counts them itself now. The
	// rest stays reserved. After Keep or Release, or a second time, it does nothing.
	Wrote()
	// Release gives back what was not kept. After Keep, or a second time, it does nothing, so that it can be deferred.
	Release()
}

// Usage is what counts against a pool's limits, or a change of it.
type Usage struct {
	Volumes    int   // volumes in their place and in the bin
	Bytes      int64 // their virtual bytes
	BinVolumes int   // of these, in the bin
	BinBytes   int64
}

// Pool is one pool as the Service sees it. pool.Pool satisfies it.
type Pool interface {
	// Name returns the pool's name, unique in the server.
	Name() string
	// Bin returns how long deleted volumes are kept, and whether they are kept even when room is needed.
	Bin() (retention time.Duration, keep bool)
	// Account changes the use that counts against the limits, outside of a reservation.
	Account(change Usage)
	// Observe is Account for what was found to have changed without us.
	Observe(change Usage)
	// SetBase tells the bytes of base images, which count against max-total-size too.
	SetBase(bytes int64)
	// Unwell tells that the storage failed under an operation, so that the pool is checked again soon.
	Unwell(err error)
}

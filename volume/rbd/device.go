package rbd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"elstore/volume"
	"elstore/volume/fault"
)

// Device is an open image. What was written is on the cluster when the call returns: nothing is cached here.
type Device struct {
	s        *Store
	name     string
	readonly bool
	h        Handle
	size     atomic.Int64
	run      chan struct{} // a place for each of this Device's requests that run at once

	mu      sync.Mutex
	running int           // requests, and what the Store does with the handle
	ended   chan struct{} // closed when Close began
	idle    chan struct{} // closed when the last request ended after that
	lost    atomic.Pointer[fault.Error]
}

var (
	_ volume.Device       = (*Device)(nil)
	_ volume.ExtentReader = (*Device)(nil)
	_ volume.VectorWriter = (*Device)(nil)
	_ volume.Parallel     = (*Device)(nil)
)

// perDevice bounds the requests of one Device that run at once, so that one image leaves room for others.
const perDevice = 64

// maxPiece is how much is discarded or zeroed by one request, in bytes: librbd takes no more than an int32.
const maxPiece = 1 << 30

// OpenDevice opens an image, or with snap one of its snapshots. One that may be written to is opened once, and holds the image's
// exclusive lock until it is closed. One that lies in the trash is brought back.
func (s *Store) OpenDevice(ctx context.Context, name, snap string, readonly bool) (volume.Device, error) {
	d := &Device{
		s: s, name: name, readonly: readonly || snap != "",
		run: make(chan struct{}, perDevice), ended: make(chan struct{}), idle: make(chan struct{}),
	}
	var settled atomic.Bool // by open, which succeeded, or by giving up
	err := s.during(ctx, "open the image", s.cfg.Limit, func() error {
		err := d.open(snap)
		if err == nil && settled.Swap(true) {
			return d.abandon()
		}
		return err
	})
	if err != nil && settled.Swap(true) { // both at once
		return nil, errors.Join(err, s.bounded("close the image", d.abandon)) //nolint:contextcheck // it ends whatever became of its user
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// abandon closes a Device that nobody got. It is forgotten last: until then the lock is this server's, and whoever opened the image
// would take it for a dead predecessor's.
func (d *Device) abandon() error {
	defer d.s.forget(d)
	d.finish()
	<-d.idle
	return d.h.Close()
}

// open opens the handle and takes the lock.
func (d *Device) open(snap string) (err error) {
	switch {
	case snap != "":
		d.h, err = d.s.d.Open(d.name, snap, true)
	case d.readonly:
		d.h, _, err = d.s.find(d.name, true)
	default:
		d.h, err = d.s.placed(d.name, func() (Handle, error) { return d.s.d.OpenData(d.name, false) })
	}
	if err != nil {
		return err
	}
	size, err := d.h.Size()
	d.size.Store(size)
	if err == nil && !d.readonly {
		err = d.own()
	}
	if err != nil {
		return errors.Join(err, d.abandon())
	}
	return nil
}

// own takes the exclusive lock, from a dead predecessor of this server if need be, and notes who has it now.
func (d *Device) own() error {
	s := d.s
	s.mu.Lock()
	if s.open[d.name] != nil {
		s.mu.Unlock()
		return fault.Errorf(fault.VolumeInUse, "the image %s is open already", d.name)
	}
	s.open[d.name] = d
	s.mu.Unlock()
	err := d.acquire()
	if err == nil {
		err = d.withdraw()
	}
	if err == nil {
		err = d.note()
	}
	if err == nil {
		if _, cerr := s.clear(d.name, d.h); cerr != nil {
			s.cfg.Log.Warn("snapshot left behind", slog.String("image", d.name), slog.Any("error", cerr))
		}
		return nil
	}
	return err
}

func (d *Device) acquire() error {
	owner, err := d.h.Owner()
	if err != nil {
		return err
	}
	if owner != "" && !d.s.noted(d.h, owner) {
		if alive, err := d.h.Alive(owner); err != nil || alive {
			return errors.Join(err, fault.Errorf(fault.VolumeInUse, "the image %s is in use by %s, which is not this server", d.name, owner))
		}
	} else if owner != "" {
		if err := d.h.Break(owner); err != nil && errno(err) != syscall.ENOENT {
			return err
		}
		d.s.cfg.Log.Info("lock taken from this server's predecessor", slog.String("image", d.name), slog.String("owner", owner))
	}
	return d.h.Acquire()
}

// withdraw takes back what Credentials gave: a machine that had opened the image past this server, and slept while another one
// wrote through it, would go on with what it remembers of it.
func (d *Device) withdraw() error {
	users, err := d.h.Note(usersKey)
	if err != nil || users == "" {
		return err
	}
	if err := d.alone(); err != nil {
		return err
	}
	if err := d.s.revoke(users); err != nil {
		return err
	}
	if err := d.alone(); err != nil { // who came meanwhile
		return err
	}
	d.s.cfg.Log.Info("credentials for an image withdrawn", slog.String("image", d.name))
	return d.h.SetNote(usersKey, "")
}

// alone fails where somebody else has the image open. The exclusive lock is this Device's.
func (d *Device) alone() error {
	owner, err := d.h.Owner()
	if err != nil {
		return err
	}
	if shared, err := d.h.Shared(owner); err != nil || shared {
		return errors.Join(err, fault.Errorf(fault.VolumeInUse,
			"the image %s is open somewhere with the credentials that were given out for it: close it there, and try again half a minute later if that machine died", d.name))
	}
	return nil
}

// note leaves word in the image that this server has its lock.
func (d *Device) note() error {
	owner, err := d.h.Owner()
	if err != nil {
		return err
	}
	return d.h.SetNote(holderKey, d.s.cfg.ServerID+" "+owner)
}

// noted reports whether the lock's owner is this server as it was before it died: the caller holds the volume's flock, which that
// process had.
func (s *Store) noted(h Handle, owner string) bool {
	note, err := h.Note(holderKey)
	server, was, _ := strings.Cut(note, " ")
	return err == nil && server != "" && server == s.cfg.ServerID && was == owner
}

func (s *Store) forget(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[d.name] == d {
		delete(s.open, d.name)
	}
}

// do runs one request.
func (d *Device) do(op string, request func() error) error {
	if lost := d.lost.Load(); lost != nil {
		return lost
	}
	if !d.begin() {
		return os.ErrClosed
	}
	defer d.end()
	for _, place := range []chan struct{}{d.run, d.s.run} {
		select {
		case place <- struct{}{}:
			defer func() { <-place }()
		case <-d.ended:
			return os.ErrClosed
		}
	}
	err := request()
	switch errno(err) {
	case syscall.ESHUTDOWN, syscall.EROFS:
		lost := fault.Errorf(fault.PoolUnavailable, "the image %s was taken from this server, which must not touch it any more: %w", d.name, err)
		if d.lost.CompareAndSwap(nil, lost) {
			d.s.cfg.Log.Error("image lost", slog.String("image", d.name), slog.Any("error", err))
		}
		return d.lost.Load()
	case syscall.ETIMEDOUT:
		d.s.health.poke()
	}
	return classify(op, err)
}

// begin keeps the handle open until end, or returns false where it is about to be closed.
func (d *Device) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.ended:
		return false
	default:
	}
	d.running++
	return true
}

func (d *Device) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	select {
	case <-d.ended:
		if d.running == 0 {
			close(d.idle)
		}
	default:
	}
}

// finish lets nothing begin any more. It returns false where it was called before.
func (d *Device) finish() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.ended:
		return false
	default:
	}
	close(d.ended)
	if d.running == 0 {
		close(d.idle)
	}
	return true
}

// check refuses what is not wholly in the image.
func (d *Device) check(off, length int64, write bool) error {
	size := d.size.Load()
	switch {
	case write && d.readonly:
		return fault.Errorf(fault.VolumeReadOnly, "the image %s is open for reading only", d.name)
	case off < 0 || length < 0 || length > size || off > size-length:
		return fault.Errorf(fault.BadRequest, "%d bytes at %d are not within the %d bytes of the image %s", length, off, size, d.name)
	}
	return nil
}

// ReadAt fills p from off.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	return d.transfer("read", p, off, false, func(p []byte, off int64) error { return d.h.ReadAt(p, off) })
}

// WriteAt writes p at off.
func (d *Device) WriteAt(p []byte, off int64) (int, error) {
	return d.transfer("write", p, off, true, func(p []byte, off int64) error { return d.h.WriteAt(p, off) })
}

// WriteVectorAt writes the pieces as one: what reaches the cluster is one request for each object, not for each piece.
func (d *Device) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	length := 0
	for _, p := range pieces {
		length += len(p)
	}
	err := d.check(off, int64(length), true)
	if err == nil {
		err = d.do("write", func() error { return d.h.WriteVectorAt(pieces, off) })
	}
	if err != nil {
		return 0, err
	}
	return length, nil
}

func (d *Device) transfer(op string, p []byte, off int64, write bool, request func(p []byte, off int64) error) (int, error) {
	err := d.check(off, int64(len(p)), write)
	if err == nil {
		err = d.do(op, func() error {
			if len(p) == 0 {
				return nil
			}
			return request(p, off)
		})
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush returns once what was written is on stable storage, or ctx ends.
func (d *Device) Flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() {
		done <- d.do("flush", func() error {
			if d.readonly {
				return nil
			}
			return d.h.Flush()
		})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Discard makes a range read as zeros.
func (d *Device) Discard(off, length int64) error {
	return d.pieces("discard", off, length, d.h.Discard)
}

// WriteZeroes makes a range read as zeros, without storage if unmap allows that.
func (d *Device) WriteZeroes(off, length int64, unmap bool) error {
	if unmap {
		return d.Discard(off, length)
	}
	return d.pieces("write zeros", off, length, d.h.WriteZeroes)
}

func (d *Device) pieces(op string, off, length int64, request func(off, n int64) error) error {
	if err := d.check(off, length, true); err != nil {
		return err
	}
	for {
		n := min(length, maxPiece)
		err := d.do(op, func() error {
			if n == 0 {
				return nil
			}
			return request(off, n)
		})
		off, length = off+n, length-n
		if err != nil || length == 0 {
			return err
		}
	}
}

// extentWindow is how far NextExtent looks ahead, in bytes.
const extentWindow = 1 << 30

// NextExtent tells how far there is data from off on, or none.
func (d *Device) NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error) {
	if ctx.Err() != nil {
		return 0, false, context.Cause(ctx)
	}
	if err := d.check(off, 1, false); err != nil {
		return 0, false, err
	}
	window := min(d.size.Load()-off, extentWindow)
	err = d.do("look for holes", func() error {
		length, mapped = window, false
		return d.h.Extents(off, window, func(at, n int64) bool {
			switch {
			case mapped && at == off+length: // it goes on
				length += n
			case mapped:
				return false
			case at > off:
				length = at - off
				return false
			default:
				mapped, length = true, n
			}
			return true
		})
	})
	return length, mapped, err
}

// Requests returns how many requests run at once; more wait.
func (d *Device) Requests() int { return perDevice }

// Size returns the size in bytes.
func (d *Device) Size() int64 { return d.size.Load() }

// Grow takes note that the image is larger now.
func (d *Device) Grow(size int64) error {
	return d.do("grow", func() error {
		is, err := d.h.Size()
		if err == nil && is < size {
			err = fault.Errorf(fault.VolumeDamaged, "the image %s has %d bytes, and should have %d", d.name, is, size)
		}
		if err == nil {
			d.size.Store(size)
		}
		return err
	})
}

// Close closes the image, after the requests that run. Where the cluster doesn't answer it waits no longer than the limit, and what
// is left to do is done when it answers.
func (d *Device) Close() error {
	if !d.finish() {
		return nil
	}
	return d.s.bounded("close the image", func() error {
		<-d.idle
		defer d.s.forget(d)
		var err error
		if !d.readonly && d.lost.Load() == nil {
			err = d.h.Flush()
		}
		return errors.Join(err, d.h.Close())
	})
}

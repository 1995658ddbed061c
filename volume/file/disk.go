package file

import (
	"context"
	"path/filepath"
	"sync"

	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

// disk is an open qcow2 image: QEMU's, but for the part that it has of the volume's lock.
type disk struct {
	*qemu.Device
	release func()
}

var _ volume.Device = (*disk)(nil)

// Close ends the daemon. One that does not end keeps the lock itself.
func (d *disk) Close() error {
	err := d.Device.Close()
	d.release()
	return err
}

// disks are the qcow2 images that are open, by path. What is to be done to one of them its daemon does: qemu-img never touches
// an open image.
type disks struct {
	mu sync.Mutex
	m  map[string]*qemu.Device
}

func (s *disks) get(path string) *qemu.Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[path]
}

func (s *disks) put(path string, d *qemu.Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*qemu.Device{}
	}
	s.m[path] = d
}

func (s *disks) drop(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, path)
}

// openDisk opens the image of a qcow2 volume, through a daemon that shares the volume's lock.
func (h *held) openDisk(ctx context.Context, m volume.Meta, readonly bool) (volume.Device, error) {
	if h.b.cfg.Opener == nil {
		return nil, fault.Errorf(fault.ImageToolMissing, "this server runs without qemu-storage-daemon, and volumes in qcow2 format can't be opened without it")
	}
	options := qemu.OpenOptions{
		Name: h.id.String(), Image: qemuFile(h.d, dataName(m.Format), qemu.QCOW2), ReadOnly: readonly, Direct: h.b.cfg.Shared,
	}
	if m.Base != "" {
		format, ok := parseBaseName(m.Base)
		if !ok || !h.b.hasBase(m.Base) {
			return nil, fault.Errorf(fault.VolumeDamaged, "the base image of volume %s is missing", h.id)
		}
		options.Base = &qemu.Image{Path: filepath.Join(h.b.pool.path, baseName, m.Base), Format: qemu.Format(format)}
	}
	path := options.Image.Path
	if h.b.disks.get(path) != nil {
		return nil, fault.Errorf(fault.VolumeInUse, "volume %s is open already", h.id)
	}
	device, err := h.b.cfg.Opener.Open(ctx, options, h.lock.file)
	if err != nil {
		return nil, err
	}
	h.b.disks.put(path, device)
	part := h.share()
	return &disk{device, once(func() {
		h.b.disks.drop(path)
		part()
	})}, nil
}

// share gives a Device its part of the volume's lock, which it has longer than h, until the function that is returned.
func (h *held) share() (release func()) {
	lock := h.lock
	h.b.locks.use(h.id)
	h.b.locks.join(lock, nil)
	return once(func() {
		h.b.locks.part(lock)
		h.b.locks.leave(h.id, lock)
	})
}

package volume

import (
	"context"
	"slices"

	"elstore/volume/fault"
)

// Claim says that an export uses a volume, for as long as it lasts.
type Claim struct {
	Export    string // a name for people and logs
	Client    Client // whose machines use it; zero where they are nobody's
	Exclusive bool   // no other claim beside it
	ReadOnly  bool   // it never writes
	Path      bool   // it opens the image by its path: the Device refuses all requests. Exclusive with it.

	// Resized is called after the volume grew, while requests are still held back. May be nil.
	Resized func(size int64)
}

// opened is a volume's Device and the claims on it. claims is guarded by Service.mu.
type opened struct {
	device *gate
	claims []*Claim
	peeked bool // it is open without the volume's lock, for reading; guarded by Service.mu
}

func (o *opened) names() []string {
	names := make([]string, len(o.claims))
	for i, c := range o.claims {
		names[i] = c.Export
	}
	return names
}

// lent reports whether the image is opened by its path, and not here.
func (o *opened) lent() bool {
	_, ok := o.device.dev.(Lent)
	return ok
}

// Opened is a claimed volume: its Device, shared by all of its claims, and the way to end the claim.
type Opened struct {
	Device
	service *Service
	entry   *entry // may be out of the index: its pool went, or came back
	opened  *opened
	claim   *Claim
}

// Open claims a volume and returns its Device, which is opened with the first claim and closed with the last. A
// volume that is claimed exclusively, or any for an exclusive claim, is refused with VolumeAlreadyExported.
func (s *Service) Open(ctx context.Context, id ID, c Claim) (*Opened, error) {
	var o *Opened
	err := s.Turn(ctx, id, "open", func(ctx context.Context, t *Turn) (err error) {
		o, err = t.Open(ctx, c)
		return err
	})
	return o, err
}

// WriteVectorAt implements VectorWriter.
func (o *Opened) WriteVectorAt(pieces [][]byte, off int64) (int, error) {
	return o.opened.device.WriteVectorAt(pieces, off)
}

// NextExtent implements ExtentReader.
func (o *Opened) NextExtent(ctx context.Context, off int64) (length int64, mapped bool, err error) {
	return o.opened.device.NextExtent(ctx, off)
}

// Requests implements Parallel.
func (o *Opened) Requests() int { return o.opened.device.Requests() }

// ReadNow implements NowReader.
func (o *Opened) ReadNow(p []byte, off int64) bool { return o.opened.device.ReadNow(p, off) }

// Splice implements Splicer.
func (o *Opened) Splice(fd int, off, length int64) int64 {
	return o.opened.device.Splice(fd, off, length)
}

// WritesNow implements NowWriter.
func (o *Opened) WritesNow(length int64) bool { return o.opened.device.WritesNow(length) }

// Path returns the image's path where the claim is for that, or "".
func (o *Opened) Path() string {
	if l, ok := o.opened.device.dev.(Lent); ok {
		return l.Path()
	}
	return ""
}

// Idle returns nil where nobody has an image open whose path is claimed, ExportBusy where somebody has, or why that can't be told.
func (o *Opened) Idle() error {
	if l, ok := o.opened.device.dev.(Lent); ok {
		return l.Idle()
	}
	return nil
}

// Close ends the claim, and closes the Device if it was the last. It waits for an operation on the volume to end.
func (o *Opened) Close() error {
	ctx := context.Background() // the claim must end whatever became of its user
	unlock, err := o.service.locks.Lock(ctx, o.entry.id)
	if err != nil {
		return err
	}
	defer unlock()
	return o.end()
}

// end ends the claim. The caller has the volume's key.
func (o *Opened) end() error {
	s := o.service
	s.mu.Lock()
	dev := o.opened
	if !slices.Contains(dev.claims, o.claim) {
		s.mu.Unlock()
		return nil // closed before
	}
	dev.claims = slices.DeleteFunc(dev.claims, func(c *Claim) bool { return c == o.claim })
	last := len(dev.claims) == 0
	if last {
		o.entry.opened = nil
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return dev.device.Close()
}

// inUse returns the opened volume, or nil.
func (s *Service) inUse(h *handle) *opened {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return h.entry.opened
}

// ownersAlone refuses, with VolumeInUse, what can't be done to a volume while others than its owner use it.
func (s *Service) ownersAlone(h *handle, what string) error {
	o := s.inUse(h)
	if o == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range o.claims {
		if !c.Client.IsZero() && c.Client != h.found.Meta.Creator {
			return fault.Errorf(fault.VolumeInUse, "volume %s is used by %s, who is not its owner; while that lasts %s", h.found.ID, c.Export, what)
		}
	}
	return nil
}

// unused refuses, with code, what can't be done to a volume that is claimed, or is to be again by what is recorded beside it.
func (s *Service) unused(h *handle, code fault.Code, what string) error {
	o := s.inUse(h)
	if o == nil {
		return s.unrecorded(h, code, what)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fault.Errorf(code, "volume %s is used by %s; while that lasts %s", h.found.ID, o.names(), what)
}

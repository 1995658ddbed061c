package qemu

import "slices"

// overdueRequest is a request that the daemon has not answered for long.
type overdueRequest struct {
	place  int
	serial uint64
	kind   virtioKind
	off    int64
	data   []byte // of a write, copied; of a read as many zeros
}

// tick is to be called from time to time: in ticks it is counted how long requests are under way. For each to look at the clock would
// cost them more than it costs to do without.
func (c *vhostConn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticks++
}

// overdue returns the request that has been under way longest, if that is since before so many ticks.
func (c *vhostConn) overdue(ticks uint64) (o overdueRequest, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var oldest *vhostCall
	for i := range c.calls {
		k := &c.calls[i]
		if k.flying.Load() && c.ticks-k.since >= ticks && (oldest == nil || k.serial < oldest.serial) {
			oldest = k
		}
	}
	if oldest == nil {
		return o, false
	}
	o = overdueRequest{place: oldest.place, serial: oldest.serial, kind: oldest.kind, off: oldest.off}
	if o.kind == virtioOut { // it may have been answered by now, but what it had in memory is given back with mu
		o.data = slices.Clone(oldest.data)
	} else {
		o.data = make([]byte, len(oldest.data))
	}
	return o, true
}

// pending reports whether the request has not been answered yet.
func (c *vhostConn) pending(o overdueRequest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.calls[o.place]
	return k.serial == o.serial && k.flying.Load()
}

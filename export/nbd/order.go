package nbd

import (
	"context"
	"slices"
	"sync"
)

// Order keeps the changes of several connections to one export apart where they overlap. A client whose connection breaks makes on another
// one what it has no answer to, and then perhaps writes there again: what the first connection has at the device still must not come
// last. So a change waits until those of other connections that overlap it have been made. The zero Order is ready.
type Order struct {
	mu      sync.Mutex
	spans   []*span
	changed chan struct{} // closed, and replaced, when one of them ends; nil where nobody waits
}

// span is what a connection's request changes.
type span struct {
	by          *server
	off, length int64
}

// begin waits for its turn, which end ends. An error is ctx's: then there is no turn.
func (o *Order) begin(ctx context.Context, by *server, off, length int64) (end func(), err error) {
	s := &span{by, off, length}
	for {
		o.mu.Lock()
		if ctx.Err() != nil {
			o.mu.Unlock()
			return nil, context.Cause(ctx)
		}
		if !slices.ContainsFunc(o.spans, s.waitsFor) {
			o.spans = append(o.spans, s)
			o.mu.Unlock()
			return func() { o.end(s) }, nil
		}
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (o *Order) end(s *span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spans = slices.DeleteFunc(o.spans, func(other *span) bool { return other == s })
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

func (s *span) waitsFor(o *span) bool {
	return o.by != s.by && o.off < s.off+s.length && s.off < o.off+o.length
}

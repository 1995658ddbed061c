package client

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// counted tells how much was read, and remembers why reading failed. net/http may read on for a moment after it
// gave an answer or an error; stop ends that.
type counted struct {
	mu      sync.Mutex
	r       io.Reader
	done    int64
	total   int64
	tell    Bytes
	err     error
	stopped bool
}

var errStopped = errors.New("the request has ended")

// Read reads on.
func (c *counted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return 0, errStopped
	}
	n, err := c.r.Read(p)
	c.done += int64(n)
	if n > 0 && c.tell != nil {
		c.tell(c.done, c.total)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = fmt.Errorf("read the image at byte %d: %w", c.done, err)
	}
	return n, err
}

// stop makes further reads fail and returns why an earlier one did, if it did.
func (c *counted) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return c.err
}

package qemu

// capture keeps the first bytes that are written to it and drops the rest: what a hostile image makes qemu-img
// print must not fill the memory, and a writer that stops would stop qemu-img.
type capture struct {
	limit   int
	kept    []byte
	dropped bool
}

// Write never fails.
func (c *capture) Write(p []byte) (int, error) {
	n := min(len(p), c.limit-len(c.kept))
	c.kept = append(c.kept, p[:n]...)
	c.dropped = c.dropped || n < len(p)
	return len(p), nil
}

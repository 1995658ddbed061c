package file

// Stepped lets a pool ask step before its every change. See step.
func (c Config) Stepped(step func(op, name string) error) Config {
	c.step = step
	return c
}

// Kill lets go of the locks that b holds, as the kernel does when a process is killed, and changes nothing.
func (b *Backend) Kill() {
	b.locks.mu.Lock()
	defer b.locks.mu.Unlock()
	for _, k := range b.locks.m {
		if k.file != nil {
			k.file.Close()
		}
	}
}

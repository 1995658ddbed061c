package file

import (
	"os"
	"time"
)

// Stepped lets a pool ask step before its every change. See step.
func (c Config) Stepped(step func(op, name string) error) Config {
	c.step = step
	return c
}

// SettlingFor waits only so long for volumes that somebody still holds.
func (c Config) SettlingFor(d time.Duration) Config {
	c.settleWait = d
	return c
}

// Kill lets go of the locks that b holds, as the kernel does when a process is killed, and changes nothing.
func (b *Backend) Kill() {
	for _, f := range b.lockFiles() {
		f.Close()
	}
}

// lockFiles returns the locks that b holds, as its children inherit them.
func (b *Backend) lockFiles() (files []*os.File) {
	b.locks.mu.Lock()
	defer b.locks.mu.Unlock()
	for _, k := range b.locks.m {
		if k.file != nil {
			files = append(files, k.file)
		}
	}
	return files
}

// InPlace makes and deletes volumes in their places, in plain directories, as on ZFS in datasets.
func (c Config) InPlace() Config {
	c.maker = standing{}
	return c
}

type standing struct{ plain }

func (standing) inPlace() bool { return true }

// IsInPlace reports whether InPlace was asked for.
func (c Config) IsInPlace() bool { return c.maker != nil }

package iscsi

import (
	"testing"
	"testing/synctest"
)

// crowded is a ram whose reads wait for each other.
type crowded struct {
	*ram
	requests int
	come     chan struct{} // one for each read that began
	leave    chan struct{} // closed to let them all end
}

func (c *crowded) Requests() int { return c.requests }

func (c *crowded) ReadAt(p []byte, off int64) (int, error) {
	c.come <- struct{}{}
	<-c.leave
	return c.ram.ReadAt(p, off)
}

// As many commands are at a medium at once as are worth the while for it, where that is more than the workers of any.
func TestParallel(t *testing.T) {
	const commands = 24
	for _, tt := range []struct {
		name           string
		requests, want int
	}{{"many at once", 20, 20}, {"fewer than workers", 1, defaultWorkers}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &crowded{ram: newRAM(), requests: tt.requests, come: make(chan struct{}, commands), leave: make(chan struct{})}
				s := newStage(t, func(_ *Config, target *TargetConfig) { target.Device = disk })
				s.attach(AttachmentConfig{})
				p := newPeer(t, s.pipe()).login().ready()
				for range commands {
					p.start(read10(0, 1))
				}
				synctest.Wait()
				// The reader may run one itself, since it came alone.
				if n := len(disk.come); n < tt.want || n > tt.want+1 {
					t.Errorf("%d commands are at the medium, want %d", n, tt.want)
				}
				close(disk.leave)
				for range commands {
					p.next()
				}
			})
		})
	}
}

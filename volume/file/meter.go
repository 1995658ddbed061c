package file

import (
	"sync"

	"elstore/volume"
)

// meter tells a volume.Progress how far an operation came: never less than before, and all of it only at the end. A nil
// *meter tells nobody.
type meter struct {
	p     volume.Progress
	total int64

	mu   sync.Mutex
	done int64
}

// newMeter returns a meter for total bytes, nil where nobody is to be told.
func newMeter(p volume.Progress, total int64) *meter {
	if p == nil {
		return nil
	}
	return &meter{p: p, total: total}
}

// at tells that done bytes are done.
func (m *meter) at(done int64) {
	if m == nil {
		return
	}
	m.tell(min(done, m.total-1))
}

// end tells that everything is, after it was made durable.
func (m *meter) end() {
	if m != nil {
		m.tell(m.total)
	}
}

func (m *meter) tell(done int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if done > m.done {
		m.done = done
		m.p(done, m.total)
	}
}

// of tells that done of total are done, in units of somebody else's.
func (m *meter) of(done, total int64) {
	if m != nil && total > 0 {
		m.at(int64(float64(m.total) * (float64(done) / float64(total))))
	}
}

// program returns what a program's progress is told to.
func (m *meter) program() func(done, total int64) {
	if m == nil {
		return nil
	}
	return m.of
}

// part returns a meter for the part i of n that are equally long.
func (m *meter) part(i, n int64) *meter {
	if m == nil {
		return nil
	}
	return newMeter(func(done, total int64) { m.of(i*total+done, n*total) }, m.total)
}

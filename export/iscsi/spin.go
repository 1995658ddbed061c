package iscsi

import "time"

const (
	// spinTime is how long a thread that lingers looks for the next command before it sleeps. It is what an initiator of this
	// machine needs to take an answer and send on. To put a processor to sleep and wake it takes as long, on a virtual machine
	// longer, and is the better part of what a command costs that has the connection for itself.
	spinTime = 100 * time.Microsecond
	// maxSpinPause has a thread that never sees anything while it looks do that in one of 64 waits.
	maxSpinPause = 6
)

// spins decides when a connection spins, by whether that was of use before: what it may cost for nothing is bounded, per command that
// came.
type spins struct {
	on     bool // it does now
	misses int  // one after the other
	pause  int  // waits without it that are to come
}

// next returns how long the next wait spins.
func (s *spins) next() time.Duration {
	if s.on = s.pause == 0; s.on {
		return spinTime
	}
	s.pause--
	return 0
}

// over is called after each wait.
func (s *spins) over(seen bool) {
	switch {
	case seen:
		s.misses = 0
	case s.on:
		s.misses = min(s.misses+1, maxSpinPause)
		s.pause = 1 << s.misses
	}
}

package pool

import (
	"sync"
	"time"

	"elstore/volume/fault"
)

// asking puts questions to directories that may lie on a file system that no longer answers, such as a network's.
// None of them waits longer than patience, nor is asked again while it owes an answer.
type asking struct {
	answered func() // called when one answers after all

	mu     sync.Mutex
	silent map[string]bool // those that owe an answer
}

var errSilent = fault.Errorf(fault.PoolUnavailable, "its file system doesn't answer")

// ask runs question about a directory in a goroutine of its own. ok is false if there is no answer; then
// question may still be running, and its result is not used.
func ask[T any](a *asking, dir string, question func() T) (answer T, ok bool) {
	a.mu.Lock()
	silent := a.silent[dir]
	a.mu.Unlock()
	if silent {
		return answer, false
	}
	done := make(chan T, 1)
	go func() {
		done <- question()
		a.mu.Lock()
		late := a.silent[dir]
		delete(a.silent, dir)
		a.mu.Unlock()
		if late {
			a.answered()
		}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case answer = <-done:
		return answer, true
	case <-timer.C:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case answer = <-done: // between the two
		return answer, true
	default:
		a.silent[dir] = true
		return answer, false
	}
}

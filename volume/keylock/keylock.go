// Package keylock lets one operation at a time run per key; the others wait in the order in which they came,
// and their waiting ends with their context.
package keylock

import (
	"context"
	"sync"
)

// Map holds one lock per key. The zero value is ready, and must not be copied after its first use. Its methods
// may be called at the same time. Keys that nobody holds or waits for cost nothing.
type Map[K comparable] struct {
	mu    sync.Mutex
	locks map[K]*lock
}

type lock struct {
	token chan struct{} // holds one token while the lock is free
	users int           // holders and waiters, guarded by Map.mu
}

// Lock waits until the key is free or ctx ends, and returns the function that frees it, to be called once, by
// any goroutine. The error is the context's cause; a context that ended before never gets the key.
func (m *Map[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	l := m.use(key)
	select {
	case <-l.token:
		if ctx.Err() != nil {
			m.release(key, l)
			return nil, context.Cause(ctx)
		}
		return func() { m.release(key, l) }, nil
	case <-ctx.Done():
		m.leave(key, l)
		return nil, context.Cause(ctx)
	}
}

// TryLock takes the key if it is free now, and ok says whether it did. unlock is to be called once.
func (m *Map[K]) TryLock(key K) (unlock func(), ok bool) {
	l := m.use(key)
	select {
	case <-l.token:
		return func() { m.release(key, l) }, true
	default:
		m.leave(key, l)
		return nil, false
	}
}

// release hands the token to whoever waits longest, or puts it back.
func (m *Map[K]) release(key K, l *lock) {
	l.token <- struct{}{}
	m.leave(key, l)
}

func (m *Map[K]) use(key K) *lock {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.locks[key]
	if l == nil {
		if m.locks == nil {
			m.locks = make(map[K]*lock)
		}
		l = &lock{token: make(chan struct{}, 1)}
		l.token <- struct{}{}
		m.locks[key] = l
	}
	l.users++
	return l
}

func (m *Map[K]) leave(key K, l *lock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.locks, key)
	}
}

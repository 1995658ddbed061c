package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	freeFailures = 5                // that cost nothing: somebody pastes the wrong token
	firstDelay   = time.Second      // after the next one; it doubles with each
	longestDelay = time.Minute      //
	forgetAfter  = 10 * time.Minute // of no failure
	maxFailures  = 4096             // keys that are remembered, the latest
)

// failures remembers who came with wrong credentials, and for how long nobody listens to them.
type failures struct {
	mu    sync.Mutex
	byKey map[string]*failure
}

type failure struct {
	count int
	last  time.Time
	until time.Time
}

func newFailures() *failures { return &failures{byKey: map[string]*failure{}} }

// blocked returns for how long key is not listened to.
func (f *failures) blocked(key string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.byKey[key]; x != nil {
		return time.Until(x.until)
	}
	return 0
}

// failed notes a failure of key.
func (f *failures) failed(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	x := f.byKey[key]
	if x == nil || now.Sub(x.last) > forgetAfter {
		if x == nil && len(f.byKey) >= maxFailures {
			f.drop(now)
		}
		x = &failure{}
		f.byKey[key] = x
	}
	x.count++
	x.last = now
	if over := x.count - freeFailures; over > 0 {
		x.until = now.Add(min(longestDelay, firstDelay<<min(over-1, 10)))
	}
}

// drop makes room: it forgets what is old, else the oldest.
func (f *failures) drop(now time.Time) {
	var oldest string
	for key, x := range f.byKey {
		if now.Sub(x.last) > forgetAfter {
			delete(f.byKey, key)
			continue
		}
		if o := f.byKey[oldest]; o == nil || x.last.Before(o.last) {
			oldest = key
		}
	}
	if len(f.byKey) >= maxFailures {
		delete(f.byKey, oldest)
	}
}

// remoteKey is what a remote address, host:port, counts under: the address, and of IPv6 the network of 64 bits that one
// subscriber has all addresses of.
func remoteKey(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		network, err := addr.Prefix(64)
		if err == nil {
			return network.String()
		}
	}
	return addr.String()
}

package keylock

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func mustLock[K comparable](t *testing.T, m *Map[K], key K) (unlock func()) {
	t.Helper()
	unlock, err := m.Lock(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

// wantNoKeys fails if m remembers a key, which it must not while nobody holds or waits for one.
func wantNoKeys[K comparable](t *testing.T, m *Map[K]) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.locks) != 0 {
		t.Errorf("%d keys are left behind", len(m.locks))
	}
}

func TestTheSecondWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[string]
		unlock := mustLock(t, &m, "a")
		start := time.Now()
		time.AfterFunc(3*time.Second, unlock)
		mustLock(t, &m, "a")()
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("waited %v, want the 3s that the first held the key", waited)
		}
		wantNoKeys(t, &m)
	})
}

func TestKeysAreStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[int]
		start := time.Now()
		var unlocks []func()
		for key := range 100 {
			unlocks = append(unlocks, mustLock(t, &m, key))
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("100 keys waited %v for each other", waited)
		}
		for _, unlock := range unlocks {
			unlock()
		}
		wantNoKeys(t, &m)
	})
}

func TestWaitersGoInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[string]
		unlock := mustLock(t, &m, "a")
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				free := mustLock(t, &m, "a")
				order = append(order, i)
				free()
			})
			synctest.Wait() // i waits before i+1 comes
		}
		unlock()
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("order %v, want 0 to 9", order)
		}
		wantNoKeys(t, &m)
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	stop := errors.New("the server stops")
	tests := []struct {
		name  string
		end   func(context.Context) (context.Context, context.CancelFunc)
		after time.Duration
		want  error
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second)
		}, 5 * time.Second, context.DeadlineExceeded},
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(2*time.Second, cancel)
			return ctx, cancel
		}, 2 * time.Second, context.Canceled},
		{"cancelled for a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(stop) })
			return ctx, func() { cancel(nil) }
		}, time.Second, stop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m Map[string]
				unlock := mustLock(t, &m, "a")
				start := time.Now()
				ctx, cancel := tt.end(t.Context())
				defer cancel()
				if _, err := m.Lock(ctx, "a"); !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if waited := time.Since(start); waited != tt.after {
					t.Errorf("waited %v, want %v", waited, tt.after)
				}
				unlock()
				mustLock(t, &m, "a")() // who gave up does not stand in the way
				wantNoKeys(t, &m)
			})
		})
	}
}

func TestAContextThatEndedNeverGetsTheKey(t *testing.T) {
	var m Map[string]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 1000 { // a select would let it in half of the time
		if _, err := m.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want %v", err, context.Canceled)
		}
	}
	wantNoKeys(t, &m)
	mustLock(t, &m, "a")()
}

func TestTryLock(t *testing.T) {
	var m Map[string]
	unlock, ok := m.TryLock("a")
	if !ok {
		t.Fatal("a free key was refused")
	}
	if _, ok := m.TryLock("a"); ok {
		t.Error("a held key was given away")
	}
	other, ok := m.TryLock("b")
	if !ok {
		t.Fatal("a free key was refused while another is held")
	}
	other()
	unlock()
	if unlock, ok = m.TryLock("a"); !ok {
		t.Fatal("a freed key was refused")
	}
	unlock()
	wantNoKeys(t, &m)
}

func TestTryLockDoesNotOvertakeAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[string]
		unlock := mustLock(t, &m, "a")
		release := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			free := mustLock(t, &m, "a")
			<-release
			free()
		}()
		synctest.Wait()
		unlock()
		if _, ok := m.TryLock("a"); ok {
			t.Error("the key went to a newcomer while somebody waited for it")
		}
		close(release)
		<-done
		wantNoKeys(t, &m)
	})
}

// TestExclusionUnderLoad has real goroutines fight for a few keys, some with contexts that end while they
// wait. The race detector sees every counter that two of them touch at once.
func TestExclusionUnderLoad(t *testing.T) {
	const keys, goroutines, rounds = 3, 16, 300
	var m Map[string]
	var counters [keys]int // counter k is guarded by key k alone
	var taken [goroutines]int
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				k := (g + i) % keys
				ctx, cancel := context.WithCancel(t.Context())
				if i%4 == 0 {
					go cancel()
				}
				unlock, err := m.Lock(ctx, strconv.Itoa(k))
				if err == nil {
					counters[k]++
					taken[g]++
					unlock()
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	counted, want := 0, 0
	for _, n := range counters {
		counted += n
	}
	for _, n := range taken {
		want += n
	}
	if counted != want || want < goroutines*rounds/2 {
		t.Errorf("counted %d under the locks, %d were taken", counted, want)
	}
	wantNoKeys(t, &m)
}

func BenchmarkLock(b *testing.B) {
	var m Map[int]
	for b.Loop() {
		unlock, err := m.Lock(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		unlock()
	}
}

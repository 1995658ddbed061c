package pool

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := 0
		a := &asking{answered: func() { answered++ }, silent: map[string]bool{}}
		after := func(d time.Duration) func() int {
			return func() int { <-time.After(d); return 7 }
		}
		if n, ok := ask(a, "x", after(patience-1)); n != 7 || !ok {
			t.Errorf("in time: %d, %t", n, ok)
		}
		start := time.Now()
		if _, ok := ask(a, "x", after(10*patience)); ok || time.Since(start) != patience {
			t.Errorf("too late: %t after %v", ok, time.Since(start))
		}
		start = time.Now()
		if _, ok := ask(a, "x", after(0)); ok || time.Since(start) != 0 {
			t.Errorf("while it owes an answer: %t after %v", ok, time.Since(start))
		}
		if n, ok := ask(a, "y", after(0)); n != 7 || !ok {
			t.Errorf("another: %d, %t", n, ok)
		}
		<-time.After(10 * patience)
		synctest.Wait()
		if answered != 1 {
			t.Errorf("%d late answers were told of, want 1", answered)
		}
		if n, ok := ask(a, "x", after(0)); n != 7 || !ok {
			t.Errorf("after it answered: %d, %t", n, ok)
		}
	})
}

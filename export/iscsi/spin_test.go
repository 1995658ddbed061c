package iscsi

import "testing"

func TestSpinsThatAreOfUseGoOn(t *testing.T) {
	var s spins
	for range 1000 {
		if s.next() != spinTime {
			t.Fatal("a wait does not spin")
		}
		s.over(true)
	}
}

// TestSpinsForNothing counts the waits from one that spins to the next.
func TestSpinsForNothing(t *testing.T) {
	var s spins
	wait := func(seen bool) (pause int) {
		for s.next() == 0 {
			s.over(false)
			pause++
		}
		s.over(seen)
		return pause
	}
	for i, want := range []int{0, 2, 4, 8, 16, 32, 64, 64, 64} {
		if got := wait(false); got != want {
			t.Errorf("%d waits before spin %d, want %d", got, i, want)
		}
	}
	wait(true)
	for i, want := range []int{0, 2, 4} {
		if got := wait(false); got != want {
			t.Errorf("after one that was of use: %d waits before spin %d, want %d", got, i, want)
		}
	}
}

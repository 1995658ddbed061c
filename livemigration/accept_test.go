package livemigration

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Storage that hangs under one migration keeps no other from being prepared.
func TestPrepareBesideWhatHangs(t *testing.T) {
	var first atomic.Bool
	hangs, free := make(chan struct{}), make(chan struct{})
	d := newDuo(t, map[Side]func(string, *Record) error{Source: func(op string, _ *Record) error {
		if op == "save" && first.CompareAndSwap(false, true) {
			close(hangs)
			<-free
		}
		return nil
	}})
	ids := d.disks(2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = d.two.Prepare(t.Context(), d.request(ids[:1])) // it may wait no longer
	}()
	defer func() { <-ended }()
	defer close(free)
	<-hangs
	_, err := d.two.Prepare(t.Context(), d.request(ids[1:]))
	d.one.must(err)
}

// As long as a wish to prepare may be found, the migration that it was of is remembered: else it would be prepared once more.
func TestRememberedUntilItsWishIsOld(t *testing.T) {
	now := time.Now()
	r := Record{Status: Status{Stable, Source, Source}, Ended: now, Deadline: now.Add(7 * 24 * time.Hour), Here: Source, Peer: "two"}
	var due []bool
	for _, days := range []int{0, 2, 8} {
		due = append(due, r.due(now.AddDate(0, 0, days), 24*time.Hour))
	}
	if !slices.Equal(due, []bool{false, false, true}) {
		t.Errorf("on the days 0, 2 and 8 it is forgotten so: %v", due)
	}
}

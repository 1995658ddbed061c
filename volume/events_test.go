package volume

import "testing"

func TestSubscribe(t *testing.T) {
	const before = 100 // of an earlier process
	tests := []struct {
		name      string
		published int
		since     int64
		lost      bool
		from      int64 // Subscription.Since
		replayed  int
	}{
		{"from now on", 5, 0, false, before + 5, 0},
		{"up to date", 5, before + 5, false, before + 5, 0},
		{"some behind", 5, before + 2, false, before + 2, 3},
		{"the first of this process", 5, before, false, before, 5},
		{"of an earlier process", 5, before - 10, true, before, 5},
		{"from the future", 5, before + 50, true, before + 5, 0},
		{"nothing happened yet", 0, before, false, before, 0},
		{"as far back as is known", history + 10, before + 10, false, before + 10, history},
		{"further back", history + 10, before + 9, true, before + 10, history},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := NewEvents(before)
			for range tt.published {
				ev.Publish(Event{Type: EventCreated})
			}
			sub := ev.Subscribe(tt.since)
			if sub.Lost != tt.lost || sub.Since != tt.from || len(sub.C) != tt.replayed {
				t.Errorf("lost %t, since %d, %d replayed", sub.Lost, sub.Since, len(sub.C))
			}
			ev.Publish(Event{Type: EventUpdated})
			for n := sub.Since + 1; n <= before+int64(tt.published)+1; n++ {
				if e := <-sub.C; e.Sequence != n || e.Revision != n {
					t.Fatalf("got %+v, want event %d", e, n)
				}
			}
			sub.Close()
			sub.Close()
			if _, open := <-sub.C; open {
				t.Error("not closed")
			}
		})
	}
}

func TestRevisionCountsVolumesAndPools(t *testing.T) {
	ev := NewEvents(0)
	ev.Publish(Event{Type: EventCreated})
	ev.Publish(Event{Type: EventJob})
	ev.Publish(Event{Type: EventPool})
	if got := ev.Revision(); got != 2 {
		t.Errorf("revision %d", got)
	}
}

// A reader that is too slow is told so instead of missing something.
func TestSlowSubscriberIsEnded(t *testing.T) {
	ev := NewEvents(0)
	slow, quick := ev.Subscribe(0), ev.Subscribe(0)
	n := 0
	for range cap(slow.c) + 1 {
		ev.Publish(Event{Type: EventCreated})
		<-quick.C
	}
	for range slow.C {
		n++
	}
	if n != cap(slow.c) {
		t.Errorf("%d events before the end", n)
	}
	ev.End()
	if _, open := <-quick.C; open {
		t.Error("End did not end")
	}
	if _, open := <-ev.Subscribe(0).C; open {
		t.Error("a subscription after End goes on")
	}
}

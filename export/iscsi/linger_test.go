package iscsi

import (
	"testing"
	"time"
)

func TestWhoLingers(t *testing.T) {
	const soon = 50 * time.Microsecond
	for _, c := range []struct {
		name   string
		change func(*conn)
		want   time.Duration
	}{
		{"a busy initiator", func(*conn) {}, lingerTime},
		{"before the login", func(c *conn) { c.session = nil }, 0},
		{"an initiator that takes its time", func(c *conn) { c.life.gap = lingerTime }, 0},
		{"a worker runs", func(c *conn) { c.session.workers = 1 }, 0},
		{"an answer is under way", func(c *conn) { c.session.sending = true }, 0},
		{"others linger", func(c *conn) { c.server.lingering.now.Store(2) }, 0},
		{"one other lingers", func(c *conn) { c.server.lingering.now.Store(1) }, lingerTime},
		{"one processor", func(c *conn) { c.server.lingering.most = 0 }, 0},
		{"its turn is over", func(c *conn) { c.life.last.Store(int64(lingerTurn)) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lingering{most: 2}
			conn := &conn{server: &Server{lingering: l}, session: &session{}}
			conn.life.gap = soon
			c.change(conn)
			before := l.now.Load()
			spin, got := conn.Linger()
			if got != c.want {
				t.Fatalf("it lingers for %v, want %v", got, c.want)
			}
			if (spin > 0) != (got > 0) {
				t.Errorf("it spins for %v", spin)
			}
			if got > 0 {
				if l.now.Load() != before+1 {
					t.Error("it does not count")
				}
				conn.Lingered(true)
			}
			if l.now.Load() != before {
				t.Errorf("%d linger afterwards, %d did before", l.now.Load(), before)
			}
		})
	}
	t.Run("the next turn", func(t *testing.T) {
		conn := &conn{server: &Server{lingering: &lingering{most: 1}}, session: &session{}}
		conn.life.last.Store(int64(lingerTurn))
		for range 2 {
			if _, got := conn.Linger(); got != 0 {
				t.Error("it lingers before it has waited")
			}
		}
		conn.Waits()
		if _, got := conn.Linger(); got != lingerTime {
			t.Error("it does not linger after it has waited")
		}
	})
}

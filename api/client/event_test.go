package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/api/client"
)

// streamer answers each request with the next part of a stream and then cuts the line, and notes after which event
// each was to go on. The last part is not cut.
type streamer struct {
	mu    sync.Mutex
	parts []string
	after []string
}

func (s *streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	part, last := s.parts[0], len(s.parts) == 1
	if !last {
		s.parts = s.parts[1:]
	}
	s.after = append(s.after, r.Header.Get("Last-Event-ID"))
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	fmt.Fprint(w, part)
	_ = http.NewResponseController(w).Flush()
	if !last {
		panic(http.ErrAbortHandler)
	}
	<-r.Context().Done()
}

func event(n int) string {
	return fmt.Sprintf("id: %d\nevent: volume.created\ndata: {\"sequence\":%d,\"type\":\"volume.created\",\"new\":1}\n\n", n, n)
}

// TestEventsOverABrokenLine: every event comes once, whatever the line was cut in.
func TestEventsOverABrokenLine(t *testing.T) {
	half := event(3)[:20]
	s := &streamer{parts: []string{event(1) + event(2) + half, "", event(3), ": heartbeat\nid: 9\n\n" + event(10)[:4], event(10)}}
	c := serve(t, s, nil)
	var got []int64
	for e, err := range c.Events(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Sequence)
		if e.Sequence == 10 {
			break
		}
	}
	if fmt.Sprint(got) != "[1 2 3 10]" {
		t.Errorf("events %v", got)
	}
	if want := []string{"", "2", "2", "3", "9"}; fmt.Sprint(s.after) != fmt.Sprint(want) {
		t.Errorf("asked to go on after %q, want %q", s.after, want)
	}
}

func TestEventsEnd(t *testing.T) {
	t.Run("with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := serve(t, &streamer{parts: []string{event(1)}}, nil)
		var last error
		for _, err := range c.Events(ctx, 0) {
			cancel()
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("error %v", last)
		}
	})
	t.Run("with the patience", func(t *testing.T) {
		c := serve(t, &recorder{answers: []func(http.ResponseWriter){cut("")}}, func(cfg *client.Config) { cfg.Patience = 20 * time.Millisecond })
		var last error
		for _, err := range c.Events(t.Context(), 0) {
			last = err
		}
		if !isUnreachable(last) {
			t.Errorf("error %v", last)
		}
	})
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"no stream":   {says(200, "{}"), "no event stream"},
		"no JSON":     {says(200, "data: x\n\n", "Content-Type", "text/event-stream"), "can't be understood"},
		"a refusal":   {says(403, `{"error":"not you","code":"NotAllowed"}`), "not you"},
		"a long line": {says(200, "data: "+strings.Repeat("x", 2<<20), "Content-Type", "text/event-stream"), "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, &recorder{answers: []func(http.ResponseWriter){tt.answer}}, nil)
			var got []string
			for _, err := range c.Events(t.Context(), 0) {
				got = append(got, fmt.Sprint(err))
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("errors %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestRealEvents(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	id := s.volume(t, c, imageSize)
	after := int64(1000) // where the rig begins to count
	var kinds []string
	for e, err := range c.Events(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == client.EventReset {
			t.Fatal("events were forgotten")
		}
		kinds = append(kinds, e.Type)
		if e.Type == "volume.created" {
			if e.Volume != id || e.Pool != "fast" || e.Time == "" {
				t.Errorf("event %+v", e)
			}
			break
		}
	}
	if len(kinds) < 2 { // the pool came before
		t.Errorf("events %v", kinds)
	}
	for e, err := range c.Events(t.Context(), 5) {
		if err != nil || e.Type != client.EventReset {
			t.Errorf("after an event of long ago came %+v, %v", e, err)
		}
		break
	}
}

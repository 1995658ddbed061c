package v1_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"elstore/api/rest"
	v1 "elstore/api/v1"
	"elstore/volume"
)

// message is one server-sent event.
type message struct{ id, event, data string }

// stream is an open event stream.
type stream struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
	end  context.CancelFunc
}

func (s *server) stream(t *testing.T, path string, headers ...header) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := http.DefaultClient.Do(s.request(http.MethodGet, path, nil, headers...).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v", resp)
	}
	return &stream{t, resp, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next message that bears data. ok is false at the stream's end.
func (s *stream) next() (m message, ok bool) {
	for s.in.Scan() {
		name, value, _ := strings.Cut(s.in.Text(), ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case "":
			if m.data != "" {
				return m, true
			}
		}
	}
	return message{}, false
}

// want checks the types of the next events and returns the last one.
func (s *stream) want(types ...string) (last volume.Event, id string) {
	s.t.Helper()
	for _, kind := range types {
		m, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s", kind)
		}
		last = volume.Event{}
		if err := json.Unmarshal([]byte(m.data), &last); err != nil || m.event != kind || last.Type != kind {
			s.t.Fatalf("got %v, want %s", m, kind)
		}
		if kind != "reset" && m.id != fmt.Sprint(last.Sequence) {
			s.t.Errorf("id %s of %s", m.id, m.data)
		}
		id = m.id
	}
	return last, id
}

func TestEvents(t *testing.T) {
	s := newServer(t, `{}`)
	all := s.stream(t, "/events?type=volume")
	jobs := s.stream(t, "/events?type=job&client_uid="+alice)
	private := s.stream(t, "/events?type=volume&client_uid="+bob)
	deletions := s.stream(t, "/events?type=volume.trashed&type=volume.purged")

	id := s.create("disk", 0.001)
	created, _ := all.want("volume.created")
	if created.Volume == nil || created.Volume.String() != id || created.Pool != "pool" || created.Revision != s.Events.Revision() || created.Time.IsZero() {
		t.Errorf("%+v", created)
	}
	s.post("/update", owned(id, "private", true)).want(200)
	promised := s.post("/update/resize", owned(id, "size", 0.002), async).want(202).object()["id"]
	_, resized := all.want("volume.updated", "volume.resized")
	for done := false; !done; { // how many there are depends on how far it was seen to be
		e, _ := jobs.want("job.changed")
		job, _ := e.Job.(map[string]any)
		done = job["id"] == promised && job["state"] == "done"
	}
	s.post("/destroy", map[string]string{"volume_id": id}).want(200)
	all.want("volume.trashed")
	s.post("/trash/restore", map[string]string{"volume_id": id}).want(200)
	all.want("volume.restored")
	s.post("/destroy", map[string]any{"volume_id": id, "purge": true}).want(200)
	all.want("volume.purged")

	private.want("volume.created") // then it was alice's secret
	deletions.want("volume.trashed", "volume.purged")

	// Who comes back gets what it missed, and one volume's events only if it likes.
	s.create("other", 0.001)
	private.want("volume.created")
	again := s.stream(t, "/events?type=volume&volume="+id, header{"Last-Event-ID", resized})
	again.want("volume.trashed", "volume.restored", "volume.purged")
	about := s.stream(t, "/events?volume="+id, header{"Last-Event-ID", resized})
	about.want("job.changed", "volume.trashed") // a job is about its volumes
}

func TestEventsThatAreForgotten(t *testing.T) {
	s := newServer(t, `{}`)
	now := s.Events.Revision()
	for name, id := range map[string]string{"of an earlier process": "5", "of the future": "999999", "of another server": "x-y", "negative": "-1"} {
		t.Run(name, func(t *testing.T) {
			st := s.stream(t, "/events?type=volume", header{"Last-Event-ID", id})
			if e, _ := st.want("reset"); e.Revision != now {
				t.Errorf("%+v", e)
			}
		})
	}
	s.get("/events?volume=x").want(400, "BadRequest")
	s.get("/events?client_uid=x").want(400, "BadRequest")
}

func TestRevisions(t *testing.T) {
	s := newServer(t, `{}`)
	st := s.stream(t, "/revisions/stream")
	want := func(n int64) {
		t.Helper()
		m, ok := st.next()
		if !ok || m.event != "revision" || m.id != fmt.Sprint(n) || m.data != fmt.Sprintf(`{"revision":%d}`, n) {
			t.Fatalf("got %v, want %d", m, n)
		}
	}
	n := s.Events.Revision()
	want(n)
	if got := s.get("/revisions").want(200); got.object()["revision"] != float64(n) {
		t.Errorf("%s", got)
	}
	s.get("/revisions", header{"If-None-Match", fmt.Sprintf("%q", fmt.Sprint(n))}).want(304)
	s.Events.Publish(volume.Event{Type: volume.EventJob}) // changes no list
	s.create("a", 0.001)
	want(n + 1)
	s.create("b", 0.001)
	want(n + 2)
	s.get("/revisions", header{"If-None-Match", fmt.Sprintf("%q", fmt.Sprint(n))}).want(200)
}

func TestStreamsEndWithTheEvents(t *testing.T) {
	s := newServer(t, `{}`)
	events, revisions := s.stream(t, "/events"), s.stream(t, "/revisions/stream")
	revisions.next()
	s.Events.End()
	for _, st := range []*stream{events, revisions} {
		if m, ok := st.next(); ok {
			t.Errorf("got %v", m)
		}
	}
}

// handlerOf returns what answers GET at path.
func handlerOf(t *testing.T, ev *volume.Events, path string) rest.Handler {
	t.Helper()
	for _, r := range v1.New(v1.Config{Events: ev}).Routes() {
		if r.Path == path && slices.Contains(r.Methods, http.MethodGet) {
			return r.Handler
		}
	}
	t.Fatalf("nothing is at %s", path)
	return nil
}

// run serves path while during runs, and returns what was sent.
func run(t *testing.T, ev *volume.Events, path string, during func(stop func())) string {
	t.Helper()
	stopping := make(chan struct{})
	ctx, cancel := context.WithCancel(rest.WithStopping(t.Context(), stopping))
	defer cancel()
	rec := httptest.NewRecorder()
	done := make(chan struct{})
	handler := handlerOf(t, ev, path)
	go func() {
		defer close(done)
		handler.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, path+"?type=volume", nil))
	}()
	synctest.Wait()
	during(func() { close(stopping) })
	cancel()
	<-done
	return rec.Body.String()
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := volume.NewEvents(100)
		got := run(t, ev, "/events", func(func()) {
			<-time.After(16 * time.Second)
			ev.Publish(volume.Event{Type: volume.EventPool}) // not asked for, and never to be asked for again
			<-time.After(15 * time.Second)
		})
		want := "retry: 2000\nid: 100\n\n: heartbeat\nid: 100\n\n: heartbeat\nid: 101\n\n"
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestStreamEndsWhenTheServerStops(t *testing.T) {
	for _, path := range []string{"/events", "/revisions/stream"} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			run(t, volume.NewEvents(0), path, func(stop func()) {
				stop()
				synctest.Wait()
			})
			if time.Since(began) != 0 {
				t.Errorf("%s went on for %v", path, time.Since(began))
			}
		})
	}
}

func TestSlowReaderIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := volume.NewEvents(0)
		pipe := &blocked{header: http.Header{}, release: make(chan struct{})}
		done := make(chan struct{})
		handler := handlerOf(t, ev, "/events")
		go func() {
			defer close(done)
			handler.ServeHTTP(pipe, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/events", nil))
		}()
		synctest.Wait()
		for range 5000 {
			ev.Publish(volume.Event{Type: volume.EventPool})
		}
		close(pipe.release)
		<-done // although nobody ended the request
	})
}

// blocked is a connection whose client reads only when it is released.
type blocked struct {
	header  http.Header
	release chan struct{}
}

func (b *blocked) Header() http.Header { return b.header }
func (b *blocked) WriteHeader(int)     {}
func (b *blocked) FlushError() error   { return nil }
func (b *blocked) Write(p []byte) (int, error) {
	<-b.release
	return len(p), nil
}

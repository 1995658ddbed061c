package v1

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
)

// eventsRequest says which events are wanted: all of the named types, or of the type before the dot (volume, pool, job),
// about the named volumes, that the client may see.
type eventsRequest struct {
	Types   []string    `json:"type"`
	Volumes []volume.ID `json:"volume" alias:"volume_id"`
	asker
}

// eventReset tells a client that events after the one it knows are forgotten: it has to read all state anew.
const eventReset = "reset"

func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeQuery[eventsRequest](r)
	if err != nil {
		return err
	}
	caller := access.CallerOf(r.Context())
	since, lost := lastEvent(r)
	sub := a.cfg.Events.Subscribe(since)
	defer sub.Close()
	last := sub.Since
	s, err := newStream(w, last)
	if err != nil || r.Method == http.MethodHead {
		return nil // the client is gone
	}
	if lost || sub.Lost {
		e := volume.Event{Type: eventReset, Revision: a.cfg.Events.Revision(), Time: time.Now().UTC()}
		if s.send(last, eventReset, e) != nil {
			return nil
		}
	}
	follow(r.Context(), s, sub, func() int64 { return last }, func(e volume.Event) error {
		last = e.Sequence
		if !req.wants(&e) || !a.sees(caller, &e) {
			return nil
		}
		return s.send(e.Sequence, e.Type, e)
	})
	return nil
}

// follow calls tell with every event until the client or the server is gone, the client is too slow, or what it came with is no good
// any more. last is the id that heartbeats bear.
func follow(ctx context.Context, s *stream, sub *volume.Subscription, last func() int64, tell func(volume.Event) error) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	caller := access.CallerOf(ctx)
	for {
		var err error
		select {
		case e, ok := <-sub.C:
			if !ok || caller.Gone() {
				return
			}
			err = tell(e)
		case <-tick.C:
			if caller.Gone() {
				return
			}
			err = s.beat(last())
		case <-rest.Stopping(ctx):
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// lastEvent reads after which event the client wants to go on, 0 for what happens from now on. lost: it names one that
// was never ours.
func lastEvent(r *http.Request) (since int64, lost bool) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		return 0, false
	}
	since, err := strconv.ParseInt(text, 10, 64)
	if err != nil || since < 0 {
		return 0, true
	}
	return since, false
}

func (q *eventsRequest) wants(e *volume.Event) bool {
	if q.Who != nil && e.Owner != nil && *q.Who != *e.Owner {
		return false
	}
	if len(q.Types) > 0 && !slices.ContainsFunc(q.Types, func(t string) bool {
		return e.Type == t || strings.HasPrefix(e.Type, t+".")
	}) {
		return false
	}
	return len(q.Volumes) == 0 || slices.ContainsFunc(q.Volumes, func(id volume.ID) bool {
		if job, ok := e.Job.(volume.Job); ok {
			return slices.Contains(job.Volumes, id)
		}
		return e.Volume != nil && *e.Volume == id
	})
}

package v1

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// heartbeat is how often a stream that has nothing to tell says that it is alive.
const heartbeat = 15 * time.Second

// stream is an answer of server-sent events (HTML standard, section 9.2).
type stream struct {
	w       io.Writer
	control *http.ResponseController
}

// newStream begins the answer, so that the client knows that it is connected, and from which id on it may come back.
func newStream(w http.ResponseWriter, id int64) (*stream, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies would gather events for minutes
	w.WriteHeader(http.StatusOK)
	s := &stream{w, http.NewResponseController(w)}
	return s, s.text(fmt.Sprintf("retry: 2000\nid: %d\n\n", id))
}

// send writes an event.
func (s *stream) send(id int64, kind string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return s.text(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", id, kind, body))
}

// beat shows that the line is alive. The id moves the client on past events that were not meant for it.
func (s *stream) beat(id int64) error { return s.text(fmt.Sprintf(": heartbeat\nid: %d\n\n", id)) }

func (s *stream) text(text string) error {
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.control.Flush()
}

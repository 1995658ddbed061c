package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// EventReset is the type of the event that says that some before it are forgotten, as after a restart of the
// server: who keeps state has to read all of it anew.
const EventReset = "reset"

// Event is something that happened in the server. As JSON it is just as it came.
type Event struct {
	Sequence int64  `json:"sequence"` // grows with every event
	Revision int64  `json:"revision"` // of the list of volumes after it
	Type     string `json:"type"`     // such as volume.created
	Time     string `json:"time"`     // RFC 3339
	Volume   string `json:"volume_id"`
	Pool     string `json:"pool"`
	Job      *Job   `json:"job"`

	Export *ExportEvent `json:"export"`

	raw json.RawMessage
}

// ExportEvent says which attachment an event is about, and for a session who is logged in.
type ExportEvent struct {
	Client     string `json:"client_uid"`
	Type       string `json:"type"`
	Attachment string `json:"attachment_id"`
	Initiator  string `json:"initiator"`
	Remote     string `json:"remote"`
}

// UnmarshalJSON reads an event.
func (e *Event) UnmarshalJSON(data []byte) error {
	type plain Event
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	type plain Event
	return json.Marshal(plain(e))
}

// Events follows what happens, from the event behind the sequence after, or for 0 from now on. Where the line breaks it goes on after the last event that came. It ends with an error, at the latest ctx's.
func (c *Client) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		since := ""
		if after > 0 {
			since = strconv.FormatInt(after, 10)
		}
		tries := c.patience()
		for {
			began := time.Now()
			last, err := c.stream(ctx, since, func(e Event) bool {
				tries.progress()
				return yield(e, nil)
			})
			if last != "" {
				since = last
			}
			if errors.Is(err, errEnough) {
				return
			}
			if time.Since(began) > c.cfg.Patience { // a quiet line that held is no failure
				tries.progress()
			}
			if broken(err) || passing(err) {
				err = tries.again(ctx, err)
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// errEnough says that the caller wants no more.
var errEnough = errors.New("no more events are wanted")

// stream reads one connection's events, and returns the id to go on after, if one came.
func (c *Client) stream(ctx context.Context, since string, yield func(Event) bool) (last string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/events", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "text/event-stream")
	if since != "" {
		req.Header.Set("Last-Event-ID", since)
	}
	resp, err := c.send(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return "", errors.New("the server sent no event stream; is it an elstore server?")
	}
	in := newMessages(resp.Body)
	for {
		m, err := in.next()
		switch {
		case errors.Is(err, errLongEvent):
			return in.id, err
		case errors.Is(err, io.EOF):
			return in.id, c.unreachable(io.ErrUnexpectedEOF) // a stream has no end
		case err != nil:
			return in.id, c.lineError(ctx, err)
		}
		e, err := decode[Event](m.data)
		if err != nil {
			return in.id, err
		}
		if !yield(e) {
			return in.id, errEnough
		}
	}
}

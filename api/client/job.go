package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"elstore/volume/fault"
)

// State is where a job stands.
type State string

// The states. A job that is done, failed or cancelled never changes again.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended reports whether nothing more happens.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Job is a piece of work in the server as it stood at one moment. As JSON it is just as it came.
type Job struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"`
	State      State           `json:"state"`
	Volumes    []string        `json:"volumes"`
	Owner      string          `json:"owner"`
	BytesDone  int64           `json:"bytes_done"`
	BytesTotal int64           `json:"bytes_total"` // 0 where it is not known
	Created    string          `json:"created"`     // RFC 3339
	Ended      string          `json:"ended"`       // RFC 3339, or ""
	Result     json.RawMessage `json:"result"`      // of a job that is done: the answer that the call would have given
	Error      string          `json:"error"`
	Code       fault.Code      `json:"code"`

	raw json.RawMessage
}

// UnmarshalJSON reads a job.
func (j *Job) UnmarshalJSON(data []byte) error {
	type plain Job
	if err := json.Unmarshal(data, (*plain)(j)); err != nil {
		return err
	}
	j.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (j Job) MarshalJSON() ([]byte, error) {
	if j.raw != nil {
		return j.raw, nil
	}
	type plain Job
	return json.Marshal(plain(j))
}

// Err returns an *Error of a job that failed or was cancelled, else nil.
func (j Job) Err() error {
	switch j.State {
	case Failed, Cancelled:
		e := &Error{Code: j.Code, Message: j.Error, Index: -1}
		if e.Code == "" && j.State == Cancelled {
			e.Code = fault.JobCancelled
		}
		if e.Message == "" {
			e.Message = "job " + j.ID + " " + string(j.State)
		}
		return e
	case Queued, Running, Done:
	}
	return nil
}

// JobFilter says which jobs to list. Empty fields leave the choice open.
type JobFilter struct {
	States []State
	Kinds  []string
	Volume string
}

// Jobs lists the jobs that the server remembers, the newest first.
func (c *Client) Jobs(ctx context.Context, f JobFilter) ([]Job, error) {
	q := url.Values{"kind": f.Kinds}
	for _, state := range f.States {
		q.Add("state", string(state))
	}
	if f.Volume != "" {
		q.Set("volume", f.Volume)
	}
	path := "/jobs"
	if text := q.Encode(); text != "" {
		path += "?" + text
	}
	return fetch[[]Job](ctx, c, get(path))
}

// Job returns a job as it stands.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return fetch[Job](ctx, c, get("/jobs/"+url.PathEscape(id)))
}

// CancelJob asks a job to end and waits until it did, so that nothing of it is left. One that has ended stays as
// it is: see the state of the answer.
func (c *Client) CancelJob(ctx context.Context, id string) (Job, error) {
	cl := call{method: http.MethodDelete, path: "/jobs/" + url.PathEscape(id), long: true}
	return fetch[Job](ctx, c, cl)
}

// Progress is told how a job stands, whenever that was asked, by the goroutine that waits.
type Progress func(Job)

// WaitJob waits for a job's end and returns it as it stands then; Job.Err says how it went. The error is of the
// waiting: an *UnfinishedError when ctx ended or the server was away for longer than Config.Patience.
func (c *Client) WaitJob(ctx context.Context, id string, p Progress) (Job, error) {
	last := Job{ID: id}
	tries := c.patience()
	delay := c.cfg.RetryDelay
	for {
		job, err := c.Job(ctx, id)
		switch {
		case err == nil:
			last = job
			tries.progress()
			if p != nil {
				p(job)
			}
			if job.State.Ended() {
				return job, nil
			}
			if !pause(ctx, delay) {
				return last, &UnfinishedError{Job: last, Err: gaveUp(ctx)}
			}
			delay = min(delay*3/2, maxDelay/2) // short work is seen to end soon, long work is asked after seldom
			continue
		case broken(err) || passing(err):
			if err = tries.again(ctx, err); err == nil {
				continue
			}
		case ctx.Err() == nil: // no such job
			return last, err
		}
		return last, &UnfinishedError{Job: last, Err: err}
	}
}

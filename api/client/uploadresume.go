package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"elstore/volume/fault"
)

// begin finds out what an earlier try left.
func (u *upload) begin(ctx context.Context) error {
	jobs, err := u.jobs(ctx)
	if err != nil {
		return err
	}
	u.old = make(map[string]bool, len(jobs))
	for _, job := range jobs {
		u.old[job.ID] = true
	}
	if u.r.Restart {
		return nil
	}
	for {
		err := u.ask(ctx)
		if err == nil || !broken(err) {
			return err
		}
		if err := u.tries.again(ctx, err); err != nil {
			return err
		}
	}
}

// ask learns how much of the image is there.
func (u *upload) ask(ctx context.Context) error {
	a, err := u.c.once(ctx, call{method: http.MethodHead, path: u.path()}, nil)
	if err != nil {
		return u.why(ctx, err)
	}
	n, err := strconv.ParseInt(a.header.Get("Upload-Offset"), 10, 64)
	if err != nil || n < 0 {
		return errors.New("the server does not say how much of the image arrived; is it an elstore server?")
	}
	if n >= u.r.Size { // of another image, or of this one and not good for something
		n = 0
	}
	u.offset = n
	return nil
}

// why finds out what a refusal means: the answer to HEAD has no body that says it.
func (u *upload) why(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == "" {
		if _, said := u.c.Info(ctx, u.r.ID); said != nil {
			return said
		}
	}
	return err
}

// inTheWay reports whether err is of something that holds the volume.
func inTheWay(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusConflict
}

// resume finds out where to go on after a piece failed with err.
func (u *upload) resume(ctx context.Context, err error) error {
	before := u.offset
	for {
		if err := u.tries.again(ctx, err); err != nil {
			return err
		}
		// The volume is locked for as long as the server takes the piece's connection for alive.
		err = u.locate(ctx)
		if err == nil && u.offset > before { // a part of the piece arrived
			u.tries.progress()
		}
		if !broken(err) && !passing(err) && !inTheWay(err) {
			return err
		}
	}
}

func (u *upload) locate(ctx context.Context) error {
	if u.last {
		if err := u.adopt(ctx); err != nil || u.done {
			return err
		}
	}
	return u.ask(ctx)
}

// adopt looks for the job that has the image, where all of it arrived and the answer did not, and waits for it.
func (u *upload) adopt(ctx context.Context) error {
	jobs, err := u.jobs(ctx)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if u.old[job.ID] {
			continue
		}
		u.old[job.ID] = true
		if job, err = u.c.WaitJob(ctx, job.ID, u.r.Job); err != nil {
			return err
		}
		switch {
		case job.State == Done:
			u.done = complete(job)
		case job.Code != fault.BadRequest: // which is the line that broke
			return job.Err()
		}
		return nil // those before it were of other pieces
	}
	return nil
}

// complete reports whether a job put the image in place, and was not of a piece.
func complete(job Job) bool {
	var result struct {
		Complete bool `json:"complete"`
	}
	return json.Unmarshal(job.Result, &result) == nil && result.Complete
}

// jobs lists the uploads into the volume that the server remembers.
func (u *upload) jobs(ctx context.Context) ([]Job, error) {
	return u.c.Jobs(ctx, JobFilter{Kinds: []string{"upload"}, Volume: u.r.ID})
}

package client

import (
	"context"
	"errors"
	"net/http"
	"path"
)

// Operation is a call that the server took and may still be working on. T is its answer.
type Operation[T any] struct {
	client *Client
	job    string // "" where the answer came at once
	result T
}

// begin makes a call that may take long, and asks not to wait for it.
func begin[T any](ctx context.Context, c *Client, path string, body any, key string) (*Operation[T], error) {
	cl := post(path, body)
	cl.key, cl.async, cl.long = key, true, true
	a, err := c.roundTrip(ctx, cl)
	if err != nil {
		return nil, err
	}
	op := &Operation[T]{client: c}
	if a.status != http.StatusAccepted {
		op.result, err = decode[T](a.body)
		return op, err
	}
	op.job, err = jobOf(a.header)
	return op, err
}

// jobOf returns the id of the job that a 202 names.
func jobOf(h http.Header) (string, error) {
	id := path.Base(h.Get("Location"))
	if id == "." || id == "/" {
		return "", errors.New("the server answered 202 without the Location of a job; is it an elstore server?")
	}
	return id, nil
}

// Job returns the id of the job that does the work, "" where it was done at once.
func (o *Operation[T]) Job() string { return o.job }

// Wait waits for the answer. p, which may be nil, is told how far the work is. An *UnfinishedError says that ctx
// ended, or the server went away, while the work goes on.
func (o *Operation[T]) Wait(ctx context.Context, p Progress) (T, error) {
	if o.job == "" {
		return o.result, nil
	}
	var none T
	job, err := o.client.WaitJob(ctx, o.job, p)
	if err != nil {
		return none, err
	}
	if err := job.Err(); err != nil {
		return none, err
	}
	return decode[T](job.Result)
}

package v1

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// incoming is data that a client sends, read by a job while the handler waits, because the request's body dies with the
// handler. Once the data is whole the client may hang up.
type incoming struct {
	from  io.Reader
	left  int64        // bytes that are to come, -1 where that is not known
	done  int64        // bytes that came
	cause func() error // why the job is to end, or nil

	once  sync.Once
	over  chan struct{} // closed when nothing more is read
	whole bool          // because all came, and not because the job ended; valid when over is closed
}

// newIncoming is the data in from, which has length bytes, or -1 where that is not known.
func newIncoming(from io.Reader, length int64) *incoming {
	return &incoming{from: from, left: length, over: make(chan struct{}), cause: func() error { return nil }}
}

func (in *incoming) end(whole bool) {
	in.once.Do(func() {
		in.whole = whole
		close(in.over)
	})
}

// unlessOver runs fn if more is to be read.
func (in *incoming) unlessOver(fn func()) {
	select {
	case <-in.over:
	default:
		fn()
	}
}

// Read reads on. A line that broke is the client's failure, not ours.
func (in *incoming) Read(p []byte) (int, error) {
	if err := in.cause(); err != nil {
		return 0, err
	}
	if in.left == 0 {
		return 0, io.EOF
	}
	if in.left > 0 {
		p = p[:min(int64(len(p)), in.left)]
	}
	n, err := in.from.Read(p)
	in.done += int64(n)
	if in.left > 0 {
		in.left -= int64(n)
	}
	if in.left == 0 || in.left < 0 && errors.Is(err, io.EOF) {
		in.end(true)
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return n, err
	}
	if cause := in.cause(); cause != nil {
		return n, cause
	}
	return n, fault.Errorf(fault.BadRequest, "the data broke off after %d bytes: %w", in.done, err)
}

var errHungUp = fault.Errorf(fault.BadRequest, "the client hung up before its data was whole")

// receive runs todo as a job on what r's client sends, and answers as await does. Until the data is whole the job ends with the
// client's connection. What is refused before is told at once, also to a client that prefers not to wait. ctx is of
// the waiting.
func (a *API) receive(ctx context.Context, w http.ResponseWriter, r *http.Request, in *incoming, todo work, made []volume.ID, async bool) (volume.Answer, error) {
	rest.SetAbout(ctx, texts(slices.Concat(todo.volumes, made)...)...)
	pools := access.CallerOf(ctx).OnlyPools()
	unblock := http.NewResponseController(w)
	job, err := a.cfg.Jobs.Attend(ctx, todo.kind, slices.Concat(a.used(ctx, todo.volumes), made), todo.owner, async, func(ctx context.Context, p volume.Progress) (any, error) {
		defer in.end(false)
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		in.cause = func() error { return context.Cause(ctx) }
		//nolint:contextcheck // the one context ends the other
		defer context.AfterFunc(r.Context(), func() { in.unlessOver(func() { cancel(errHungUp) }) })()
		// A job that is cancelled doesn't wait for a client that is silent.
		defer context.AfterFunc(ctx, func() { in.unlessOver(func() { _ = unblock.SetReadDeadline(time.Now()) }) })()
		return todo.run(volume.Within(ctx, pools), made, p)
	})
	if err != nil {
		return volume.Answer{}, err
	}
	<-in.over
	return a.await(ctx, job, async && in.whole)
}

package volume

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"elstore/volume/durable"
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

// Job is a piece of work as it stood at one moment.
type Job struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"`
	State      State           `json:"state"`
	Volumes    []ID            `json:"volumes,omitempty"`
	Owner      *Client         `json:"owner,omitempty"` // who asked for it, where that is known
	BytesDone  int64           `json:"bytes_done"`
	BytesTotal int64           `json:"bytes_total"`
	Created    time.Time       `json:"created"`
	Ended      *time.Time      `json:"ended,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"` // the answer that the call would have given
	Error      string          `json:"error,omitempty"`
	Code       fault.Code      `json:"code,omitempty"`
}

// jobsKept is how many ended jobs are remembered, the newest.
const jobsKept = 1000

const jobDir = "jobs"

// JobsConfig is what Jobs need. Events and Log are required.
type JobsConfig struct {
	Events *Events
	Log    *slog.Logger
	State  *os.Root // where jobs that somebody was promised an answer of are kept; nil: they are forgotten at the end of the process
	// Observe is told of each job when it begins to wait for its turn. It returns the context that the job runs on, and what is called
	// with the job and its error when it has ended. nil: nobody is told.
	Observe func(ctx context.Context, j Job) (context.Context, func(j Job, err error))
	Limit   int // jobs that run at once, the others are queued; 0 is 64
}

// Jobs runs pieces of work, tells how far they are, and remembers how they ended. Its methods may be called at
// the same time.
type Jobs struct {
	cfg   JobsConfig
	slots chan struct{}
	base  context.Context //nolint:containedctx // the life of all jobs, which outlives every request
	stop  context.CancelCauseFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	stopping bool
	all      map[string]*job
	ends     []string // ids of ended jobs, the oldest first
}

type job struct {
	Job
	cancel context.CancelCauseFunc
	ended  chan struct{}
	err    error
	kept   bool // it is on disk
}

var (
	errCancelled = fault.Errorf(fault.JobCancelled, "the job was cancelled")
	errStopping  = fault.Errorf(fault.ShuttingDown, "the server is stopping; try again when it is back")
)

// NewJobs returns Jobs that remember those of an earlier process. One that had not ended then has failed.
func NewJobs(cfg JobsConfig) (*Jobs, error) {
	if cfg.Limit == 0 {
		cfg.Limit = 64
	}
	if cfg.Observe == nil {
		cfg.Observe = func(ctx context.Context, _ Job) (context.Context, func(Job, error)) { return ctx, func(Job, error) {} }
	}
	base, stop := context.WithCancelCause(context.Background())
	j := &Jobs{cfg: cfg, slots: make(chan struct{}, cfg.Limit), base: base, stop: stop, all: map[string]*job{}}
	if cfg.State == nil {
		return j, nil
	}
	return j, j.load()
}

// Start runs fn on a context that has the values of ctx, and ends with Cancel or Stop and not with ctx. remember keeps the job across a restart: it is on disk when
// Start returns.
func (j *Jobs) Start(ctx context.Context, kind string, volumes []ID, owner Who, remember bool, fn func(ctx context.Context, p Progress) (any, error)) (Job, error) {
	return j.start(ctx, kind, volumes, owner, remember, j.slots, fn)
}

// Attend is Start for work that mostly waits for a client, such as an upload: it is never queued, and takes none of the
// places of work that a slow client would hold from others.
func (j *Jobs) Attend(ctx context.Context, kind string, volumes []ID, owner Who, remember bool, fn func(ctx context.Context, p Progress) (any, error)) (Job, error) {
	return j.start(ctx, kind, volumes, owner, remember, make(chan struct{}, 1), fn)
}

func (j *Jobs) start(ctx context.Context, kind string, volumes []ID, owner Who, remember bool, slots chan struct{}, fn func(ctx context.Context, p Progress) (any, error)) (Job, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	//nolint:contextcheck // the end of all jobs is this one's too
	stop := context.AfterFunc(j.base, func() { cancel(context.Cause(j.base)) })
	jb := &job{
		Job:    Job{ID: strings.ToLower(rand.Text()), Kind: kind, State: Queued, Volumes: volumes, Owner: owner, Created: now()},
		cancel: cancel, ended: make(chan struct{}), kept: remember && j.cfg.State != nil,
	}
	if err := j.keep(jb); err != nil {
		stop()
		cancel(err)
		return Job{}, err
	}
	j.mu.Lock()
	if j.stopping {
		j.mu.Unlock()
		stop()
		cancel(errStopping)
		j.forget(jb)
		return Job{}, errStopping
	}
	j.all[jb.ID] = jb
	j.wg.Add(1)
	snapshot := jb.Job
	j.mu.Unlock()
	go func() {
		defer j.wg.Done()
		defer stop()
		ctx, ended := j.cfg.Observe(ctx, snapshot)
		result, err := j.run(ctx, jb, slots, fn)
		cancel(nil)
		ended(j.end(jb, result, err), err)
	}()
	return snapshot, nil
}

func (j *Jobs) run(ctx context.Context, jb *job, slots chan struct{}, fn func(context.Context, Progress) (any, error)) (result any, err error) {
	// A mistake of ours in one job must not take down the machines that the others serve.
	defer func() {
		if p := recover(); p != nil {
			j.cfg.Log.Error("job panicked", slog.String("job", jb.ID), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	j.change(jb, func(x *Job) bool { x.State = Running; return jb.kept })
	return fn(ctx, func(done, total int64) {
		j.change(jb, func(x *Job) bool {
			before := percent(x)
			// All is done when the work is committed and not before; end says so.
			x.BytesDone, x.BytesTotal = max(min(done, total-1), x.BytesDone), total
			return percent(x) != before
		})
	})
}

func percent(x *Job) int64 {
	if x.BytesTotal <= 0 {
		return 0
	}
	return int64(float64(x.BytesDone) / float64(x.BytesTotal) * 100)
}

// change alters a job, and tells everybody if fn says that it is worth it.
func (j *Jobs) change(jb *job, fn func(*Job) bool) {
	j.mu.Lock()
	tell := fn(&jb.Job)
	snapshot := jb.Job
	j.mu.Unlock()
	if tell {
		j.cfg.Events.Publish(Event{Type: EventJob, Job: snapshot, Owner: snapshot.Owner})
	}
}

// end returns the job as it stands in the end. Who waits for it may know before.
func (j *Jobs) end(jb *job, result any, err error) Job {
	encoded, jerr := json.Marshal(result)
	if err == nil {
		err = jerr
	}
	j.mu.Lock()
	when := now()
	jb.Ended, jb.err = &when, err
	switch {
	case err == nil:
		jb.State, jb.Result, jb.BytesDone = Done, encoded, jb.BytesTotal
	case fault.CodeOf(err) == fault.JobCancelled:
		jb.State, jb.Error, jb.Code = Cancelled, err.Error(), fault.JobCancelled
	default:
		jb.State, jb.Error, jb.Code = Failed, public(err), fault.CodeOf(err)
	}
	snapshot, kept := jb.Job, jb.kept
	j.ends = append(j.ends, jb.ID)
	var old []*job
	for len(j.ends) > jobsKept {
		old = append(old, j.all[j.ends[0]])
		delete(j.all, j.ends[0])
		j.ends = slices.Delete(j.ends, 0, 1)
	}
	j.mu.Unlock()
	if kerr := j.keep(jb); kerr != nil {
		j.cfg.Log.Error("job's end not remembered", slog.String("job", jb.ID), slog.Any("error", kerr))
	}
	for _, o := range old {
		j.forget(o)
	}
	close(jb.ended)
	if kept || jb.BytesTotal > 0 { // a short synchronous call is told of by what it did
		j.cfg.Events.Publish(Event{Type: EventJob, Job: snapshot, Owner: snapshot.Owner})
	}
	return snapshot
}

// public is what a caller may read of an error: the sentences of faults, not what nobody classified.
func public(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Msg
	}
	return "the server failed; its log says why"
}

// Get returns a job as it stands.
func (j *Jobs) Get(id string) (Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	jb := j.all[id]
	if jb == nil {
		return Job{}, NoJob(id)
	}
	return jb.Job, nil
}

// NoJob is the error for a job that is not there, or is not the caller's to see.
func NoJob(id string) error { return fault.Errorf(fault.JobNotFound, "no job %.64q", id) }

// List returns all jobs that are remembered, the newest first.
func (j *Jobs) List() []Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Job, 0, len(j.all))
	for _, jb := range j.all {
		list = append(list, jb.Job)
	}
	slices.SortFunc(list, func(a, b Job) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Wait waits for a job's end, or for ctx's, and returns the error that the work ended with.
func (j *Jobs) Wait(ctx context.Context, id string) (Job, error) {
	j.mu.Lock()
	jb := j.all[id]
	j.mu.Unlock()
	if jb == nil {
		return Job{}, NoJob(id)
	}
	select {
	case <-jb.ended:
		j.mu.Lock()
		defer j.mu.Unlock()
		return jb.Job, jb.err
	case <-ctx.Done():
		return Job{}, context.Cause(ctx)
	}
}

// Cancel asks a job to end and waits until it did, so that nothing of it is left. One that has ended stays as it is.
func (j *Jobs) Cancel(ctx context.Context, id string) (Job, error) {
	j.mu.Lock()
	jb := j.all[id]
	j.mu.Unlock()
	if jb == nil {
		return Job{}, NoJob(id)
	}
	if jb.cancel != nil {
		jb.cancel(errCancelled)
	}
	select {
	case <-jb.ended:
	case <-ctx.Done():
		return Job{}, context.Cause(ctx)
	}
	return j.Get(id)
}

// Stop takes no more jobs, waits for those that run until ctx ends, cancels the others and waits for them.
func (j *Jobs) Stop(ctx context.Context) {
	finished := make(chan struct{})
	j.mu.Lock()
	j.stopping = true
	idle := len(j.all) == len(j.ends)
	j.mu.Unlock()
	if !idle {
		go func() { j.wg.Wait(); close(finished) }()
		select {
		case <-finished:
		case <-ctx.Done():
		}
	}
	j.mu.Lock()
	j.stop(errStopping)
	j.mu.Unlock()
	j.wg.Wait()
}

func (j *Jobs) keep(jb *job) error {
	if !jb.kept {
		return nil
	}
	j.mu.Lock()
	data, err := json.Marshal(jb.Job)
	j.mu.Unlock()
	if err != nil {
		return err
	}
	if err := j.cfg.State.MkdirAll(jobDir, 0o700); err != nil {
		return fault.FromState("remember the job", err)
	}
	return fault.FromState("remember the job", durable.WriteFile(j.cfg.State, jobDir+"/"+jb.ID+".json", data, 0o600))
}

func (j *Jobs) forget(jb *job) {
	if jb.kept {
		_ = j.cfg.State.Remove(jobDir + "/" + jb.ID + ".json")
	}
}

// load takes up the jobs of earlier processes.
func (j *Jobs) load() error {
	names, err := fs.Glob(j.cfg.State.FS(), jobDir+"/*.json")
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	close(ended)
	for _, name := range names {
		jb := &job{ended: ended, kept: true}
		data, err := j.cfg.State.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &jb.Job)
		}
		if err != nil || jobDir+"/"+jb.ID+".json" != name {
			j.cfg.Log.Warn("remembered job can't be read", slog.String("file", name), slog.Any("error", err))
			continue
		}
		if jb.Ended == nil {
			when := now()
			jb.State, jb.Ended, jb.Code = Failed, &when, fault.ShuttingDown
			jb.Error = "the server ended before the job did; what it had begun was undone, start it again"
			if err := j.keep(jb); err != nil {
				return err
			}
		}
		if jb.State != Done {
			jb.err = &fault.Error{Code: jb.Code, Msg: jb.Error}
		}
		j.all[jb.ID] = jb
		j.ends = append(j.ends, jb.ID)
	}
	slices.SortFunc(j.ends, func(a, b string) int { return j.all[a].Ended.Compare(*j.all[b].Ended) })
	return nil
}

package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"elstore/api/client"
	"elstore/volume/fault"
)

const (
	accepted = `{"id":"j1","kind":"clone","state":"queued"}`
	running  = `{"id":"j1","kind":"clone","state":"running","bytes_done":5,"bytes_total":10}`
	done     = `{"id":"j1","kind":"clone","state":"done","bytes_done":10,"bytes_total":10,"result":` + madeAnswer + `}`
	failed   = `{"id":"j1","kind":"clone","state":"failed","error":"no pool has room","code":"VolumeNotAllocable"}`
	ended    = `{"id":"j1","kind":"clone","state":"cancelled","error":"the job was cancelled","code":"JobCancelled"}`
)

func clone(ctx context.Context, c *client.Client, p client.Progress) (client.Created, error) {
	op, err := c.Clone(ctx, client.CloneRequest{ID: vid, Creator: me, Name: "copy"})
	if err != nil {
		return client.Created{}, err
	}
	return op.Wait(ctx, p)
}

func TestOperation(t *testing.T) {
	took := says(202, accepted, "Location", "/api/v1.0/jobs/j1")
	tests := []struct {
		name    string
		answers []func(http.ResponseWriter)
		code    fault.Code // "": it succeeds
		told    string     // states that progress was told
	}{
		{"at once", []func(http.ResponseWriter){says(200, madeAnswer)}, "", ""},
		{"a job", []func(http.ResponseWriter){took, says(200, accepted), says(200, running), says(200, done)}, "", "queued running done"},
		{"a Location with a host", []func(http.ResponseWriter){says(202, accepted, "Location", "http://x/api/v1.0/jobs/j1"), says(200, done)}, "", "done"},
		{"a line that breaks", []func(http.ResponseWriter){took, cut(""), says(200, running), cut("{"), says(200, done)}, "", "running done"},
		{"a server that restarts", []func(http.ResponseWriter){took, says(503, `{"error":"stopping","code":"ShuttingDown"}`), says(502, ""), says(200, done)}, "", "done"},
		{"it fails", []func(http.ResponseWriter){took, says(200, failed)}, fault.VolumeNotAllocable, "failed"},
		{"it is cancelled", []func(http.ResponseWriter){took, says(200, running), says(200, ended)}, fault.JobCancelled, "running cancelled"},
		{"it is forgotten", []func(http.ResponseWriter){took, says(404, `{"error":"no job","code":"JobNotFound"}`)}, fault.JobNotFound, ""},
		{"refused", []func(http.ResponseWriter){says(403, `{"error":"may not be cloned","code":"VolumeNotClonable"}`)}, fault.VolumeNotClonable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, &recorder{answers: tt.answers}, nil)
			var told []string
			v, err := clone(t.Context(), c, func(j client.Job) { told = append(told, string(j.State)) })
			switch {
			case tt.code == "" && (err != nil || v.ID != vid):
				t.Errorf("made %+v, %v", v, err)
			case tt.code != "" && !fault.Is(err, tt.code):
				t.Errorf("error %v, want %s", err, tt.code)
			}
			if got := strings.Join(told, " "); got != tt.told {
				t.Errorf("told of %q, want %q", got, tt.told)
			}
		})
	}
}

func TestOperationWithoutLocation(t *testing.T) {
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(202, accepted)}}, nil)
	if _, err := clone(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "Location") {
		t.Errorf("error %v", err)
	}
}

// TestWaitInterrupted: who stops waiting learns that the job goes on.
func TestWaitInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(202, accepted, "Location", "/api/v1.0/jobs/j1"), says(200, running)}}, nil)
	_, err := clone(ctx, c, func(client.Job) { cancel() })
	e, ok := errors.AsType[*client.UnfinishedError](err)
	if !ok || !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want an UnfinishedError of a cancelled context", err)
	}
	if e.Job.ID != "j1" || e.Job.BytesDone != 5 {
		t.Errorf("the job is %+v, want it as it was last seen", e.Job)
	}
}

func TestWaitForAServerThatIsGone(t *testing.T) {
	c := serve(t, &recorder{answers: []func(http.ResponseWriter){says(202, accepted, "Location", "/api/v1.0/jobs/j1"), cut("")}},
		func(cfg *client.Config) { cfg.Patience = 20 * time.Millisecond })
	_, err := clone(t.Context(), c, nil)
	e, ok := errors.AsType[*client.UnfinishedError](err)
	if !ok || !isUnreachable(err) || e.Job.ID != "j1" {
		t.Errorf("error %v, want an UnfinishedError of a server that can't be reached", err)
	}
}

func TestJobErr(t *testing.T) {
	tests := []struct {
		job  client.Job
		want string
	}{
		{client.Job{State: client.Done}, ""},
		{client.Job{State: client.Running, Error: "x"}, ""},
		{client.Job{State: client.Failed, Error: "no room", Code: fault.PoolFull}, "no room"},
		{client.Job{ID: "j", State: client.Failed}, "job j failed"},
		{client.Job{ID: "j", State: client.Cancelled}, "job j cancelled"},
	}
	for _, tt := range tests {
		err := tt.job.Err()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.job, err, tt.want)
		}
		if tt.job.State == client.Cancelled && !fault.Is(err, fault.JobCancelled) {
			t.Errorf("%+v: code %s", tt.job, fault.CodeOf(err))
		}
	}
}

func TestRealJobs(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	s.volume(t, c, imageSize)
	jobs, err := c.Jobs(t.Context(), client.JobFilter{Kinds: []string{"create"}})
	if err != nil || len(jobs) != 1 || jobs[0].State != client.Done || jobs[0].Owner != me || jobs[0].Ended == "" {
		t.Fatalf("jobs %+v, %v", jobs, err)
	}
	if none, err := c.Jobs(t.Context(), client.JobFilter{States: []client.State{client.Running}}); err != nil || len(none) != 0 {
		t.Errorf("running %+v, %v", none, err)
	}
	j, err := c.CancelJob(t.Context(), jobs[0].ID)
	if err != nil || j.State != client.Done {
		t.Errorf("a job that had ended is %+v, %v", j, err)
	}
	if _, err := c.Job(t.Context(), "none"); !fault.Is(err, fault.JobNotFound) {
		t.Errorf("error %v", err)
	}
}

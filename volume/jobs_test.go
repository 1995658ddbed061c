package volume

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"elstore/volume/fault"
)

func newJobs(t *testing.T, cfg JobsConfig) *Jobs {
	t.Helper()
	cfg.Events, cfg.Log = NewEvents(0), slog.New(slog.DiscardHandler)
	j, err := NewJobs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func start(t *testing.T, j *Jobs, remember bool, fn func(context.Context, Progress) (any, error)) Job {
	t.Helper()
	job, err := j.Start(t.Context(), "test", nil, nil, remember, fn)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestJobEnds(t *testing.T) {
	secret := errors.New("open /very/secret/path: no")
	tests := map[string]struct {
		err   error
		state State
		code  fault.Code
		text  string
	}{
		"done":         {nil, Done, "", ""},
		"fault":        {fault.Errorf(fault.PoolFull, "no room"), Failed, fault.PoolFull, "no room"},
		"unclassified": {secret, Failed, fault.InternalError, "log"},
		"cancelled":    {context.Canceled, Cancelled, fault.JobCancelled, "cancel"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := newJobs(t, JobsConfig{})
			job := start(t, j, false, func(_ context.Context, p Progress) (any, error) {
				p(50, 100)
				return map[string]int{"n": 1}, tt.err
			})
			got, err := j.Wait(t.Context(), job.ID)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v", err)
			}
			if got.State != tt.state || got.Code != tt.code || !strings.Contains(got.Error, tt.text) || strings.Contains(got.Error, "secret") {
				t.Errorf("%+v", got)
			}
			if (got.BytesDone == 100) != (tt.err == nil) || (string(got.Result) == `{"n":1}`) != (tt.err == nil) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestJobThatPanics(t *testing.T) {
	j := newJobs(t, JobsConfig{})
	job := start(t, j, false, func(context.Context, Progress) (any, error) { panic("a mistake with /a/path") })
	got, err := j.Wait(t.Context(), job.ID)
	if err == nil || got.State != Failed || got.Code != fault.InternalError || strings.Contains(got.Error, "path") {
		t.Errorf("%+v, %v", got, err)
	}
	next := start(t, j, false, func(context.Context, Progress) (any, error) { return nil, nil })
	if got, err := j.Wait(t.Context(), next.ID); err != nil || got.State != Done {
		t.Errorf("the next one: %+v, %v", got, err)
	}
}

func TestJobIsNotWholeBeforeItsEnd(t *testing.T) {
	j := newJobs(t, JobsConfig{})
	copied, commit := make(chan struct{}), make(chan struct{})
	job := start(t, j, false, func(_ context.Context, p Progress) (any, error) {
		p(100, 100)
		close(copied)
		<-commit
		return nil, nil
	})
	<-copied
	if got, _ := j.Get(job.ID); got.BytesDone != 99 || got.State != Running {
		t.Errorf("before the commit: %+v", got)
	}
	close(commit)
	if got, _ := j.Wait(t.Context(), job.ID); got.BytesDone != 100 || got.State != Done {
		t.Errorf("after it: %+v", got)
	}
}

func TestJobsCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJobs(t, JobsConfig{Limit: 1})
		cleaned := false
		running := start(t, j, false, func(ctx context.Context, _ Progress) (any, error) {
			<-ctx.Done()
			<-time.After(time.Hour) // cleaning up takes its time, on this test's clock
			cleaned = true
			return nil, context.Cause(ctx)
		})
		synctest.Wait()
		queued := start(t, j, false, func(context.Context, Progress) (any, error) { t.Error("ran"); return nil, nil })
		if got, _ := j.Get(queued.ID); got.State != Queued {
			t.Errorf("state %s with one slot taken", got.State)
		}
		if got, err := j.Cancel(t.Context(), queued.ID); err != nil || got.State != Cancelled {
			t.Errorf("%+v, %v", got, err)
		}
		got, err := j.Cancel(t.Context(), running.ID)
		if err != nil || got.State != Cancelled || !cleaned {
			t.Errorf("%+v, %v, cleaned %t", got, err, cleaned)
		}
		if again, err := j.Cancel(t.Context(), running.ID); err != nil || again.State != Cancelled {
			t.Errorf("again: %+v, %v", again, err)
		}
		if _, err := j.Cancel(t.Context(), "nobody"); !fault.Is(err, fault.JobNotFound) {
			t.Errorf("unknown: %v", err)
		}
	})
}

func TestJobsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJobs(t, JobsConfig{})
		short := start(t, j, false, func(context.Context, Progress) (any, error) { <-time.After(time.Second); return nil, nil })
		long := start(t, j, false, func(ctx context.Context, _ Progress) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		j.Stop(ctx)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("stopped after %v", took)
		}
		if got, _ := j.Get(short.ID); got.State != Done {
			t.Errorf("short: %+v", got)
		}
		if got, _ := j.Get(long.ID); got.State != Failed || got.Code != fault.ShuttingDown {
			t.Errorf("long: %+v", got)
		}
		if _, err := j.Start(t.Context(), "late", nil, nil, false, nil); !fault.Is(err, fault.ShuttingDown) {
			t.Errorf("late: %v", err)
		}
	})
}

func TestJobsThatComeWhileOthersEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		state, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		j := newJobs(t, JobsConfig{State: state})
		finish := make(chan struct{})
		running := start(t, j, true, func(context.Context, Progress) (any, error) { <-finish; return nil, nil })
		stopped := make(chan struct{})
		go func() { j.Stop(context.Background()); close(stopped) }()
		synctest.Wait()
		if _, err := j.Start(t.Context(), "late", nil, nil, true, func(context.Context, Progress) (any, error) { return nil, nil }); !fault.Is(err, fault.ShuttingDown) {
			t.Errorf("a job that came while others end: %v", err)
		}
		close(finish)
		<-stopped
		if files, err := os.ReadDir(dir + "/" + jobDir); err != nil || len(files) != 1 || files[0].Name() != running.ID+".json" {
			t.Errorf("remembered are %v, %v", files, err)
		}
	})
}

func TestJobsAreRemembered(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	j := newJobs(t, JobsConfig{State: root})
	done := start(t, j, true, func(context.Context, Progress) (any, error) { return "made", nil })
	if _, err := j.Wait(t.Context(), done.ID); err != nil {
		t.Fatal(err)
	}
	bad := start(t, j, true, func(context.Context, Progress) (any, error) { return nil, fault.Errorf(fault.PoolFull, "no room") })
	_, _ = j.Wait(t.Context(), bad.ID)
	forgotten := start(t, j, false, func(context.Context, Progress) (any, error) { return nil, nil })
	_, _ = j.Wait(t.Context(), forgotten.ID)
	hang := make(chan struct{})
	cut := start(t, j, true, func(context.Context, Progress) (any, error) { <-hang; return nil, nil })
	_ = root.Mkdir(jobDir+"/rubbish.json", 0o700)

	next := newJobs(t, JobsConfig{State: root}) // as after kill -9: j never ends
	if got, err := next.Wait(t.Context(), done.ID); err != nil || got.State != Done || string(got.Result) != `"made"` {
		t.Errorf("done: %+v, %v", got, err)
	}
	if got, err := next.Wait(t.Context(), bad.ID); !fault.Is(err, fault.PoolFull) || got.Error != "no room" {
		t.Errorf("failed: %+v, %v", got, err)
	}
	if got, err := next.Cancel(t.Context(), cut.ID); err != nil || got.State != Failed || got.Code != fault.ShuttingDown {
		t.Errorf("cut off: %+v, %v", got, err)
	}
	if _, err := next.Get(forgotten.ID); !fault.Is(err, fault.JobNotFound) {
		t.Errorf("not remembered: %v", err)
	}
	if n := len(next.List()); n != 3 {
		t.Errorf("%d jobs", n)
	}
	close(hang)
	j.Stop(t.Context())
}

func TestJobsForgetTheOldest(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	j := newJobs(t, JobsConfig{State: root})
	first := start(t, j, true, func(context.Context, Progress) (any, error) { return nil, nil })
	_, _ = j.Wait(t.Context(), first.ID)
	for range jobsKept {
		job := start(t, j, false, func(context.Context, Progress) (any, error) { return nil, nil })
		_, _ = j.Wait(t.Context(), job.ID)
	}
	if _, err := j.Get(first.ID); !fault.Is(err, fault.JobNotFound) {
		t.Errorf("the oldest is still there: %v", err)
	}
	if _, err := root.Stat(jobDir + "/" + first.ID + ".json"); !os.IsNotExist(err) {
		t.Errorf("its file is still there: %v", err)
	}
}

func TestProgressNeverFalls(t *testing.T) {
	var last int64
	p := newSteps(func(done, total int64) {
		if done < last || done > total {
			t.Errorf("done %d after %d, of %d", done, last, total)
		}
		last = done
	}, 2)
	first := p.next()
	first(10, 100)
	first(100, 100)
	second := p.next()
	second(0, 7)
	second(7, 7)
	if last != 107 {
		t.Errorf("ended at %d", last)
	}
	if newSteps(nil, 2).next() != nil {
		t.Error("progress that nobody asked for")
	}
}

// Clients that are slow to send may be many: work that needs a place still runs.
func TestAttendTakesNoPlace(t *testing.T) {
	j := newJobs(t, JobsConfig{Limit: 1})
	release := make(chan struct{})
	var slow []Job
	for range 3 {
		job, err := j.Attend(t.Context(), "upload", nil, nil, false, func(ctx context.Context, _ Progress) (any, error) {
			select {
			case <-release:
				return "sent", nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, job)
	}
	work := start(t, j, false, func(context.Context, Progress) (any, error) { return "worked", nil })
	if got, err := j.Wait(t.Context(), work.ID); err != nil || got.State != Done {
		t.Errorf("%+v, %v", got, err)
	}
	close(release)
	for _, job := range slow {
		if got, err := j.Wait(t.Context(), job.ID); err != nil || string(got.Result) != `"sent"` {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

type callKey struct{}

func TestJobsAreObserved(t *testing.T) {
	var mu sync.Mutex
	told := []string{}
	tell := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, what)
	}
	j := newJobs(t, JobsConfig{Observe: func(ctx context.Context, job Job) (context.Context, func(Job, error)) {
		tell("begins " + job.Kind + " of " + ctx.Value(callKey{}).(string))
		return context.WithValue(ctx, callKey{}, "observer"), func(job Job, err error) {
			tell("ends " + string(job.State) + " with " + job.Error)
			if !fault.Is(err, fault.PoolFull) {
				t.Errorf("its error is %v", err)
			}
		}
	}})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callKey{}, "caller"))
	begun := make(chan struct{})
	job, err := j.Start(ctx, "test", nil, nil, false, func(ctx context.Context, _ Progress) (any, error) {
		tell("runs for " + ctx.Value(callKey{}).(string))
		<-begun
		if ctx.Err() != nil {
			t.Error("it ends with its caller")
		}
		return nil, fault.Errorf(fault.PoolFull, "no room")
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	close(begun)
	_, _ = j.Wait(t.Context(), job.ID)
	j.Stop(t.Context()) // which waits for observers too
	if want := []string{"begins test of caller", "runs for observer", "ends failed with no room"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

package v1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"elstore/volume"
)

// slow is a Fetcher whose downloads last until the test lets them go on.
type slow struct {
	began chan struct{} // gets one for each download
	goOn  chan struct{}
}

func newSlow() *slow { return &slow{make(chan struct{}, 100), make(chan struct{})} }

func (f *slow) into(c *volume.Config) { c.Fetch = f }

func (f *slow) Download(ctx context.Context, _ string, to *os.File, p volume.Progress) (int64, error) {
	p(512, 1024)
	f.began <- struct{}{}
	select {
	case <-f.goOn:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n, err := to.Write(make([]byte, 1024))
	p(1024, 1024)
	return int64(n), err
}

// fetched is a request for a volume made of a URL.
func fetched(name string) map[string]any {
	return map[string]any{"creatorID": alice, "name": name, "url": "http://user:secret@example.org/image?token=secret"}
}

var async = header{"Prefer", "respond-async"}

func TestRespondAsync(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	got := s.post("/create/url", fetched("later"), async).want(http.StatusAccepted)
	if got.header.Get("Preference-Applied") != "respond-async" {
		t.Errorf("%v", got.header)
	}
	<-f.began
	path := "/jobs/" + got.object()["id"].(string)
	running := s.get(path).want(200).object()
	if running["state"] != "running" || running["kind"] != "create" || running["owner"] != alice || running["bytes_done"] == 0.0 || len(running["volumes"].([]any)) != 1 {
		t.Errorf("%v", running)
	}
	if names := s.names(map[string]any{"client_uid": alice}); len(names) != 0 {
		t.Errorf("a volume in the making is listed: %v", names)
	}
	close(f.goOn)
	done := s.wait(got)
	result, _ := done["result"].(map[string]any)
	if done["state"] != "done" || result["name"] != "later" || done["volumes"].([]any)[0] != result["vid"] || result["url"] != "http://example.org/image" {
		t.Errorf("%v", done)
	}
	if strings.Contains(fmt.Sprint(done), "secret") {
		t.Errorf("a secret is told: %v", done)
	}
	s.record(result["vid"].(string))

	// Short work is promised too.
	again := s.wait(s.post("/update", owned(result["vid"].(string), "name", "other"), async))
	if again["state"] != "done" || again["result"].(map[string]any)["name"] != "other" {
		t.Errorf("%v", again)
	}
}

func TestHangingUpDoesNotCancel(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	ctx, hangUp := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		resp, err := http.DefaultClient.Do(s.request(http.MethodPost, "/create/url", fetched("kept")).WithContext(ctx))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-f.began
	hangUp()
	if err := <-failed; err == nil {
		t.Fatal("the request was answered")
	}
	close(f.goOn)
	for _, job := range s.Jobs.List() {
		if _, err := s.Jobs.Wait(t.Context(), job.ID); err != nil {
			t.Error(err)
		}
	}
	if names := s.names(map[string]any{"client_uid": alice}); fmt.Sprint(names) != "[kept]" {
		t.Errorf("%v", names)
	}
}

func TestCancelJob(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	before := s.state()
	got := s.post("/create/url", fetched("never"), async).want(http.StatusAccepted)
	<-f.began
	path := "/jobs/" + got.object()["id"].(string)
	for range 2 {
		job := s.do(http.MethodDelete, path, nil).want(200).object()
		if job["state"] != "cancelled" || job["code"] != "JobCancelled" || job["ended"] == nil {
			t.Errorf("%v", job)
		}
	}
	if after := s.state(); after != before {
		t.Errorf("left:\n%s\nfrom\n%s", after, before)
	}

	// A caller that waits is told.
	answered := make(chan answer)
	go func() { answered <- s.post("/create/url", fetched("never")) }()
	<-f.began
	list := decode[[]map[string]any](t, s.get("/jobs?state=running").want(200).body)
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	s.do(http.MethodDelete, "/jobs/"+list[0]["id"].(string), nil).want(200)
	(<-answered).want(http.StatusConflict, "JobCancelled")

	s.get("/jobs/nothing").want(404, "JobNotFound")
	s.do(http.MethodDelete, "/jobs/nothing", nil).want(404, "JobNotFound")
}

func TestStoppingServer(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	answered := make(chan answer)
	go func() { answered <- s.post("/create/url", fetched("never")) }()
	<-f.began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Jobs.Stop(ctx)
	(<-answered).want(http.StatusServiceUnavailable, "ShuttingDown")
	got := s.post("/create", newVolume("size", "1")).want(http.StatusServiceUnavailable, "ShuttingDown")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestJobList(t *testing.T) {
	s := newServer(t, `{}`)
	a, b := s.create("a", 1), s.create("b", 1, "creatorID", bob)
	s.post("/update", owned(a, "name", "x"), async).want(202)
	tests := []struct {
		query string
		want  int
	}{
		{"", 3},
		{"?state=done&state=running", 3},
		{"?state=failed", 0},
		{"?kind=create", 2},
		{"?kind=create&kind=update", 3},
		{"?volume=" + a, 2},
		{"?volume=" + b, 1},
		{"?client_uid=" + bob, 1},
		{"?kind=update&creatorID=" + bob, 0},
	}
	for _, job := range s.Jobs.List() {
		_, _ = s.Jobs.Wait(t.Context(), job.ID)
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			got := s.get("/jobs" + tt.query).want(200).list()
			if len(got) != tt.want {
				t.Errorf("%d jobs: %v", len(got), got)
			}
			for _, job := range got {
				if job["result"] != nil {
					t.Errorf("the list bears a result: %v", job)
				}
			}
		})
	}
	s.get("/jobs?volume=x").want(400, "BadRequest")
}

// A failure of ours repeats the request's keys, and no secret.
func TestInternalError(t *testing.T) {
	s := newServer(t, `{}`, func(c *volume.Config) { c.Fetch = broken{} })
	body := fetched("n")
	body["private"] = true
	got := s.post("/create/url", body).want(http.StatusInternalServerError, "InternalError").object()
	if got["creatorID"] != alice || got["name"] != "n" || got["private"] != true || got["request_id"] == nil || strings.Contains(fmt.Sprint(got), "secret") {
		t.Errorf("%v", got)
	}
	if job := s.wait(s.post("/create/url", body, async)); job["state"] != "failed" || strings.Contains(fmt.Sprint(job), "secret") {
		t.Errorf("%v", job)
	}
}

// broken is a Fetcher that fails in a way that nobody thought of.
type broken struct{}

func (broken) Download(context.Context, string, *os.File, volume.Progress) (int64, error) {
	return 0, errors.New("a secret detail")
}

func idempotent(key string) header { return header{"Idempotency-Key", key} }

func TestIdempotencyKey(t *testing.T) {
	s := newServer(t, `{}`)
	source := s.create("source", 0.001)
	calls := []struct {
		path string
		body any
	}{
		{"/create", newVolume("name", `"new"`)},
		{"/create/multiple", "[" + newVolume("name", `"new"`) + "," + newVolume("name", `"new"`) + "]"},
		{"/clone", map[string]any{"volume_id": source, "creatorID": alice, "name": "new"}},
	}
	for _, call := range calls {
		t.Run(call.path, func(t *testing.T) {
			key := idempotent("key of " + strings.ReplaceAll(call.path, "/", "-"))
			key[1] = strings.ReplaceAll(key[1], " ", "_")
			first := s.post(call.path, call.body, key).want(200)
			revision := s.Events.Revision()
			second := s.post(call.path, call.body, key).want(200)
			if !bytes.Equal(first.body, second.body) || s.Events.Revision() != revision {
				t.Errorf("first %s\nthen  %s", first, second)
			}
			s.post(call.path, strings.ReplaceAll(asText(t, call.body), "new", "other"), key).want(409, "IdempotencyKeyReused")
			another := s.post(call.path, call.body, idempotent("another"+key[1])).want(200)
			if bytes.Equal(first.body, another.body) {
				t.Errorf("another key made nothing: %s", another)
			}
		})
	}
	s.post("/destroy", newVolume("volume_id", `"`+source+`"`), idempotent("key_of_-create")).want(409, "IdempotencyKeyReused")
}

func asText(t *testing.T, body any) string {
	t.Helper()
	if text, ok := body.(string); ok {
		return text
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A refusal is not remembered: the same call may succeed later.
func TestIdempotencyKeyAfterARefusal(t *testing.T) {
	s := newServer(t, `{"max-volumes": 1}`)
	id := s.create("in the way", 1)
	s.post("/create", newVolume("size", "1"), idempotent("k")).want(507, "VolumeNotAllocable")
	s.post("/destroy", map[string]any{"volume_id": id, "purge": true}).want(200)
	s.post("/create", newVolume("size", "1"), idempotent("k")).want(200)
}

func TestIdempotencyKeyForms(t *testing.T) {
	s := newServer(t, `{}`)
	bad := map[string][]header{
		"empty":    {idempotent("")},
		"too long": {idempotent(strings.Repeat("k", 256))},
		"a space":  {idempotent("a b")},
		"umlaut":   {idempotent("\xc3\xbc")},
		"two":      {idempotent("a"), idempotent("b")},
	}
	before := s.state()
	for name, keys := range bad {
		t.Run(name, func(t *testing.T) {
			s.post("/create", newVolume("size", "1"), keys...).want(400, "BadRequest")
			if s.state() != before {
				t.Error("something was made")
			}
		})
	}
	s.post("/create", newVolume("size", "1"), idempotent(strings.Repeat("k", 255))).want(200)
}

// The answer that is remembered is the promise, and the job is told as it stands.
func TestIdempotencyKeyWithRespondAsync(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	first := s.post("/create/url", fetched("once"), async, idempotent("k")).want(202)
	<-f.began
	second := s.post("/create/url", fetched("once"), async, idempotent("k")).want(202)
	if first.object()["id"] != second.object()["id"] || second.object()["state"] != "running" {
		t.Errorf("first %s\nthen  %s", first, second)
	}
	close(f.goOn)
	s.wait(first)
	third := s.post("/create/url", fetched("once"), idempotent("k")).want(202)
	if third.object()["state"] != "done" || third.header.Get("Location") != first.header.Get("Location") || third.header.Get("Preference-Applied") != "" {
		t.Errorf("%s", third)
	}
	if names := s.names(map[string]any{"client_uid": alice}); fmt.Sprint(names) != "[once]" {
		t.Errorf("%v", names)
	}
}

// Who comes again while the first call still runs gets its answer.
func TestIdempotencyKeyWhileTheFirstCallRuns(t *testing.T) {
	f := newSlow()
	s := newServer(t, `{}`, f.into)
	ctx, hangUp := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		resp, err := http.DefaultClient.Do(s.request(http.MethodPost, "/create/url", fetched("once"), idempotent("k")).WithContext(ctx))
		if err == nil {
			resp.Body.Close()
			t.Error("it was answered")
		}
	})
	<-f.began
	hangUp()
	wg.Wait()
	answers := make(chan answer, 3)
	for range cap(answers) {
		wg.Go(func() { answers <- s.post("/create/url", fetched("once"), idempotent("k")) })
	}
	close(f.goOn)
	wg.Wait()
	first := <-answers
	for range cap(answers) - 1 {
		if a := <-answers; !bytes.Equal(a.body, first.want(200).body) {
			t.Errorf("%s and %s", first, a)
		}
	}
	if len(f.began) != 0 {
		t.Error("it was fetched twice")
	}
	if names := s.names(map[string]any{"client_uid": alice}); fmt.Sprint(names) != "[once]" {
		t.Errorf("%v", names)
	}
}

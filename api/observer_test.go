package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"elstore/api/rest"
)

type seenKey struct{}

// watcher keeps what an rest.Observer is told.
type watcher struct {
	mu       sync.Mutex
	began    int
	outcomes []rest.Outcome
	order    []string
}

func (w *watcher) observer(name string) rest.Observer {
	return func(r *http.Request) (context.Context, func(rest.Outcome)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.began++
		w.order = append(w.order, name)
		seen, _ := r.Context().Value(seenKey{}).(string)
		return context.WithValue(r.Context(), seenKey{}, seen+name), func(o rest.Outcome) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.outcomes, w.order = append(w.outcomes, o), append(w.order, "/"+name)
		}
	}
}

func TestObservers(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		want               rest.Outcome
	}{
		"well":       {"GET", "/api/v1.0/jobs/17", "", rest.Outcome{Method: "GET", Route: "/jobs/{id}", Status: 200}},
		"other base": {"POST", "/api/v1/echo", `{"name":"n"}`, rest.Outcome{Method: "POST", Route: "/echo", Status: 200}},
		"at the top": {"GET", "/healthz", "", rest.Outcome{Method: "GET", Route: "/healthz", Status: 200}},
		"the root":   {"GET", "/", "", rest.Outcome{Method: "GET", Route: "/", Status: 200}},
		"refused":    {"POST", "/api/v1/echo", `{}`, rest.Outcome{Method: "POST", Route: "/echo", Status: 400, Code: "BadRequest"}},
		"nothing":    {"GET", "/x", "", rest.Outcome{Method: "GET", Status: 404, Code: "NoSuchPath"}},
		"a panic":    {"POST", "/api/v1/panic", `{"name":"n"}`, rest.Outcome{Method: "POST", Route: "/panic", Status: 500, Code: "InternalError"}},
	} {
		t.Run(name, func(t *testing.T) {
			config, w := testConfig(), &watcher{}
			config.Observers = []rest.Observer{w.observer("a"), w.observer("b")}
			config.Top = []rest.Route{{Methods: []string{"GET"}, Path: "/healthz", Handler: func(w http.ResponseWriter, r *http.Request) error {
				return rest.Reply(w, http.StatusOK, r.Context().Value(seenKey{}))
			}}}
			s := serve(t, config)
			resp, body := call(t, s, c.method, c.path, c.body)
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.outcomes) != 2 || !slices.Equal(w.order, []string{"a", "b", "/b", "/a"}) {
				t.Fatalf("told of %v in the order %v", w.outcomes, w.order)
			}
			for _, got := range w.outcomes {
				if got.RequestID != resp.Header.Get("X-Request-Id") || got.Took <= 0 || got.Bytes != int64(len(body)) {
					t.Errorf("%+v", got)
				}
				got.RequestID, got.Took, got.Bytes = "", 0, 0
				if got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
			}
			if c.path == "/healthz" && body != "\"ab\"\n" {
				t.Errorf("the handler's context has %s", body)
			}
		})
	}
}

func TestObserversOfWhatIsBrokenOff(t *testing.T) {
	config, w := testConfig(), &watcher{}
	config.Observers = []rest.Observer{w.observer("a")}
	s := serve(t, config)
	resp, err := s.Client().Get(s.URL + "/api/v1.0/panic/late")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	s.Close() // which waits for the handler
	if len(w.outcomes) != 1 || !w.outcomes[0].BrokenOff || w.outcomes[0].Status != 200 {
		t.Errorf("%+v", w.outcomes)
	}
}

package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"elstore/api/access"
	"elstore/export"
	"elstore/test/rig"
	"elstore/volume"
)

// TestNumbersOfOthers: single exports are shown to who acts for everybody, and pools to who uses them.
func TestNumbersOfOthers(t *testing.T) {
	w := newWatched(t, `{}`)
	rig.Pool(t, w.root, "second", `{}`)
	if err := w.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := volume.ParseClient(alice)
	if err != nil {
		t.Fatal(err)
	}
	secret := w.create("secret")
	if _, err := w.exports.Export(t.Context(), export.Request{Volume: secret, Client: client}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		caller         *access.Caller
		single, second bool
	}{
		"nobody was asked":        {nil, true, true},
		"an operator":             {&access.Caller{Role: access.Operator}, true, true},
		"an orchestrator":         {&access.Caller{Role: access.Orchestrator, Paths: []string{"/metrics"}}, true, true},
		"a user":                  {&access.Caller{Role: access.User}, false, true},
		"a reader":                {&access.Caller{Role: access.Reader}, false, true},
		"a reader of a pool":      {&access.Caller{Role: access.Reader, Pools: []string{"pool"}}, false, false},
		"an operator of a pool":   {&access.Caller{Role: access.Operator, Pools: []string{"pool"}}, false, false},
		"a user of no pool there": {&access.Caller{Role: access.User, Pools: []string{}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(access.WithCaller(t.Context(), tt.caller), http.MethodGet, "/metrics", nil)
			answer := httptest.NewRecorder()
			if err := w.metrics.Routes()[0].Handler(answer, r); err != nil || answer.Code != http.StatusOK {
				t.Fatal(err, answer.Code)
			}
			text := answer.Body.String()
			if got := strings.Contains(text, secret.String()); got != tt.single {
				t.Errorf("the volume is told of: %t", got)
			}
			if got := strings.Contains(text, alice); got != tt.single {
				t.Errorf("its client is told of: %t", got)
			}
			if got := strings.Contains(text, `pool="second"`); got != tt.second {
				t.Errorf("the other pool is told of: %t", got)
			}
			if got := strings.Contains(text, `elstore_pool_valid{pool="pool"} 1`); got != tt.caller.Uses("pool") {
				t.Errorf("the pool is told of: %t", got)
			}
			if !strings.Contains(text, "elstore_exports{") || !strings.Contains(text, "elstore_build_info{") {
				t.Errorf("what is everybody's is missing in\n%s", text)
			}
		})
	}
}

// TestScrapesAreFew: more than a few at once are refused, whoever asks.
func TestScrapesAreFew(t *testing.T) {
	w := newWatched(t, `{}`)
	for range scrapes {
		w.metrics.scraping <- struct{}{}
	}
	if status, body := w.call("GET", "/metrics"); status != http.StatusTooManyRequests || !strings.Contains(body, "RateLimited") {
		t.Errorf("%d %s", status, body)
	}
	<-w.metrics.scraping
	for range 2 {
		if status, _ := w.call("GET", "/metrics"); status != http.StatusOK {
			t.Errorf("%d", status)
		}
	}
}

package browser

import (
	_ "embed"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/hostile.html
var hostile []byte

// front is a hostile site, of any name, and before the server at the same time: a name that is the page's first and the
// server's afterwards is what a browser sees of DNS rebinding. What it forwards it leaves as it is.
type front struct {
	URL     string
	proxy   *httputil.ReverseProxy
	reports chan map[string]string // what the page could read, by attack
	next    chan string            // where it goes then

	mu      sync.Mutex
	arrived map[string][]int // by attack, the statuses that the server answered
}

// newFront puts a front before a server. An open one takes off the requests all that a server can know a browser by.
func newFront(t *testing.T, server string, open bool) *front {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{reports: make(chan map[string]string, 1), next: make(chan string, 1), arrived: map[string][]int{}}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			if !open {
				r.Out.Host = r.In.Host
				return
			}
			for name := range r.Out.Header {
				if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
					r.Out.Header.Del(name)
				}
			}
		},
		ModifyResponse: func(r *http.Response) error {
			f.note(r.Request.URL.Query().Get("attack"), r.StatusCode)
			return nil
		},
	}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.URL = s.URL
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(hostile)
	case "/report":
		body, err := io.ReadAll(r.Body)
		read := map[string]string{}
		if err == nil {
			err = json.Unmarshal(body, &read)
		}
		if err != nil {
			read["report"] = err.Error()
		}
		f.reports <- read
		select {
		case next := <-f.next:
			_, _ = io.WriteString(w, next)
		case <-r.Context().Done():
		}
	case "/end":
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

func (f *front) note(attack string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.arrived[attack] = append(f.arrived[attack], status)
}

// forget makes await wait for another visit.
func (f *front) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.arrived)
}

// at returns the address of something at the front, under a name that the browser finds it by.
func (f *front) at(t *testing.T, name, path string, query url.Values) string {
	t.Helper()
	u, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = name + ":" + u.Port()
	u.Path, u.RawQuery = path, query.Encode()
	return u.String()
}

// await waits until every attack has reached the server, and returns the statuses that each was answered with. The page
// isn't told what becomes of a beacon.
func (f *front) await(t *testing.T) map[string][]int {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		arrived := maps.Clone(f.arrived)
		f.mu.Unlock()
		var missing []string
		for name := range attacks {
			if arrived[name] == nil {
				missing = append(missing, name)
			}
		}
		if missing == nil {
			return arrived
		}
		select {
		case <-deadline:
			t.Fatalf("these never came to the server: %q", missing)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

package browser

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/test/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// reach is from where an attack works, against a server that looks at nothing of what a browser says.
type reach int

const (
	nowhere  reach = iota
	rebound        // from a page whose name was pointed at the server
	anywhere       // from any page
)

// attacks are those of hostile.html. Where they work shows that they are real.
var attacks = map[string]reach{
	"form-urlencoded":     nowhere, // its body is no JSON
	"form-text":           anywhere,
	"form-multipart":      anywhere,
	"fetch-blind":         anywhere,
	"fetch-blind-upload":  anywhere,
	"fetch-keepalive":     anywhere,
	"fetch-cors":          anywhere,
	"fetch-credentials":   anywhere,
	"fetch-destroy":       anywhere,
	"fetch-json":          rebound,
	"fetch-authorization": rebound,
	"fetch-delete":        nowhere, // there is no such job
	"fetch-put":           nowhere, // the volume waits for no upload
	"beacon":              anywhere,
	"beacon-blob":         anywhere,
	"read":                rebound,
	"read-list":           rebound,
	"events":              rebound,
	"image":               nowhere, // these five: nothing of the API is one
	"script":              nowhere,
	"style":               nowhere,
	"frame":               nowhere,
	"websocket":           nowhere,
	"ping":                nowhere, // its body is no JSON
}

// state is what a page could have changed.
type state struct {
	volumes []string // by name
	dirs    []string
	changes int // in the audit log
}

func stateOf(t *testing.T, s *rig.Server, pool string) (now state) {
	t.Helper()
	var records []struct{ Name string }
	ask(t, s, http.MethodPost, "/accessible", `{"client_uid": "`+rig.Alice.String()+`"}`).Into(t, &records)
	for _, r := range records {
		now.volumes = append(now.volumes, r.Name)
	}
	slices.Sort(now.volumes)
	var err error
	if now.dirs, err = filepath.Glob(filepath.Join(pool, "*", "*")); err != nil {
		t.Fatal(err)
	}
	var entries []struct{ Status int }
	ask(t, s, http.MethodGet, "/audit?limit=10000", "").Into(t, &entries)
	for _, e := range entries {
		if e.Status < 400 {
			now.changes++
		}
	}
	return now
}

func ask(t *testing.T, s *rig.Server, method, path, body string) rig.Answer {
	t.Helper()
	a, err := s.Do(t.Context(), method, path, strings.NewReader(body), nil)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, path, a.Status, a.Body, err)
	}
	return a
}

// TestHostilePages visits pages of strangers with a real browser while a server runs on loopback, and nothing that they
// try reaches it. Then the same pages do their harm to a server whose requests bear nothing by which it could tell.
func TestHostilePages(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	var victim struct{ VID string }
	ask(t, s, http.MethodPost, "/create", `{"creatorID": "`+rig.Alice.String()+`", "name": "victim", "size": 0.001}`).Into(t, &victim)

	guarded, open, elsewhere := newFront(t, s.URL, false), newFront(t, s.URL, true), newFront(t, s.URL, false)
	visits := []struct {
		name           string
		page, target   *front
		pageAt, server string // host names
	}{
		{"another site", guarded, guarded, "hostile.test", "127.0.0.1"},
		{"another name of this machine", guarded, guarded, "localhost", "127.0.0.1"},
		{"another port of this machine", elsewhere, guarded, "127.0.0.1", "127.0.0.1"},
		{"a name pointed here", guarded, guarded, "evil.test", "evil.test"},
		{"open: another site", open, open, "hostile.test", "127.0.0.1"},
		{"open: a name pointed here", open, open, "evil.test", "evil.test"},
	}
	address := func(i int) string {
		if i == len(visits) {
			return open.at(t, "localhost", "/end", nil)
		}
		v := visits[i]
		return v.page.at(t, v.pageAt, "/page", url.Values{
			"target": {v.target.at(t, v.server, "", nil)}, "vid": {victim.VID}, "owner": {rig.Alice.String()},
		})
	}
	before := stateOf(t, s, pool)
	c := browse(t, address(0))
	for i, v := range visits {
		var read map[string]string
		select {
		case read = <-v.page.reports:
		case err := <-c.ended:
			t.Fatalf("the browser ended: %v\n%s", err, c.log.String())
		case <-time.After(patience):
			t.Fatalf("nothing came of %q in %v\n%s", v.name, patience, c.log.String())
		}
		if tried := slices.Sorted(maps.Keys(read)); !slices.Equal(tried, slices.Sorted(maps.Keys(attacks))) {
			t.Fatalf("the page tried %q", tried)
		}
		t.Run(v.name, func(t *testing.T) {
			answers := v.target.await(t)
			from := anywhere
			if v.page == v.target && v.pageAt == v.server {
				from = rebound
			}
			now := stateOf(t, s, pool)
			if v.target == open {
				harmed(t, before, now, from, read, answers)
				before = now
				return
			}
			unharmed(t, from, read, answers)
			if fmt.Sprint(now) != fmt.Sprint(before) {
				t.Errorf("the server has %+v; before it had %+v", now, before)
			}
		})
		for _, f := range []*front{guarded, open} {
			f.forget()
		}
		v.page.next <- address(i + 1)
	}
	c.end()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

// unharmed: every request was refused, and what a page could read is a refusal, where it was anything.
func unharmed(t *testing.T, from reach, read map[string]string, answers map[string][]int) {
	for name := range attacks {
		for _, status := range answers[name] {
			if status != http.StatusForbidden {
				t.Errorf("%s: the server answered %d", name, status)
			}
		}
		text := read[name]
		if text == "" {
			continue
		}
		var refusal struct{ Code string }
		if err := json.Unmarshal([]byte(text), &refusal); from != rebound || err != nil || refusal.Code != "CrossSite" {
			t.Errorf("%s: the page read %q", name, text)
		}
	}
}

// harmed: the attacks did what they are for, from where they work and from nowhere else.
func harmed(t *testing.T, was, now state, from reach, read map[string]string, answers map[string][]int) {
	for name, needs := range attacks {
		status := answers[name][len(answers[name])-1]
		changed := count(now.volumes, name) > count(was.volumes, name) || name == "fetch-destroy" && count(now.volumes, "victim") == 0
		works := status == http.StatusOK && (changed || read[name] != "")
		if want := needs != nowhere && needs >= from; works != want {
			t.Errorf("%s: the server answered %d, the page read %q; that it works is %v", name, answers[name], read[name], works)
		}
	}
}

func count(list []string, name string) (n int) {
	for _, element := range list {
		if element == name {
			n++
		}
	}
	return n
}

// TestDocs: the page that the server has for browsers works in one.
func TestDocs(t *testing.T) {
	s := rig.Start(t, t.TempDir())
	page := browse(t, "--dump-dom", s.URL+"/api/v1.0/docs").output(t)
	for _, want := range []string{"<h1>", "/cancreate", "openapi.json", `id="schemas"`} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

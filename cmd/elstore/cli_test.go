package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	webID   = "2bef4e8692674ff5b0adbf88c5882710"
	dbID    = "2bef77a06542f1ac2fbe8790b3516000"
	otherID = "ffeeddccbbaa99887766554433221100"
	bob     = "00000000000000000000000000000b0b"
	jobID   = "6ywnhslxwtezjnr5uzeweaeedi"
)

// outcome is what came of a command line.
type outcome struct {
	code           int
	stdout, stderr string
}

// elstore runs a command line in this process, without a terminal.
func elstore(t *testing.T, args ...string) outcome {
	t.Helper()
	return elstoreIn(t.Context(), "", args...)
}

func elstoreIn(ctx context.Context, stdin string, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// succeeds runs a command line that must, and returns what it printed.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	o := elstore(t, args...)
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("elstore %s: code %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	return o.stdout
}

// fails runs a command line that must fail with code, and returns what it said.
func fails(t *testing.T, code int, args ...string) string {
	t.Helper()
	o := elstore(t, args...)
	if o.code != code || o.stderr == "" {
		t.Fatalf("elstore %s: code %d, want %d\n%s%s", strings.Join(args, " "), o.code, code, o.stdout, o.stderr)
	}
	return o.stderr
}

// script is a server whose answers are written down: by "METHOD /path", one after the other, the last one again
// and again. The environment points to it.
type script struct {
	t       *testing.T
	url     string
	mu      sync.Mutex
	answers map[string][]reply
	asked   []string // "METHOD /path body"
}

type reply struct {
	status int
	body   string
	header http.Header
}

// ok is a reply with 200.
func ok(body string) reply { return reply{status: http.StatusOK, body: body} }

// refuses is an error body.
func refuses(status int, code, sentence string) reply {
	return reply{status: status, body: fmt.Sprintf(`{"error":%q,"code":%q}`, sentence, code)}
}

// goesOn is 202 with a job.
func goesOn() reply {
	return reply{status: http.StatusAccepted, body: `{}`, header: http.Header{"Location": {"/api/v1.0/jobs/" + jobID}}}
}

func newScript(t *testing.T, answers map[string][]reply) *script {
	t.Helper()
	s := &script{t: t, answers: answers}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.url = web.URL
	t.Setenv("ELSTORE_SERVER", web.URL)
	t.Setenv("ELSTORE_CLIENT", "")
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.RequestURI(), "/api/v1.0")
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
	list := s.answers[r.Method+" "+path]
	if len(list) > 1 {
		s.answers[r.Method+" "+path] = list[1:]
	}
	s.mu.Unlock()
	if len(list) == 0 {
		s.t.Errorf("nobody expected %s %s %s", r.Method, path, body)
		list = []reply{refuses(404, "NoSuchPath", "nothing is here")}
	}
	maps.Copy(w.Header(), list[0].header)
	w.WriteHeader(list[0].status)
	_, _ = io.WriteString(w, list[0].body)
}

// golden compares with the file of that name below testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; -update writes it anew. Got:\n%s\nwant:\n%s", path, got, want)
	}
}

func record(id, name string, more string) string {
	quoted, err := json.Marshal(name)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"volumeID":%q,"creatorID":%q,"size":10000000000,"name":%s,"format":"raw","private":false,"bootable":false,`+
		`"readonly":false,"shareable":false,"clonable":true,"alg":"cp","bus":"virtio","cloudinit":false,"ceph":false,"exported":false,`+
		`"sizeOnDisk":196672,"lastUpdated":"2025-02-05 23:34:07.1850","pool":"fast","locked":false,"exports":[],"available":true,"overlay":false%s}`,
		id, anybody, quoted, more)
}

func list(records ...string) string { return "[" + strings.Join(records, ",") + "]" }

// Package rig builds the real server and runs it for tests: on loopback, on a root of its own, ended by its pid.
package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "elstore-rig-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "elstore")
	cmd := exec.Command("go", "build", "-tags", tags, "-o", bin, "elstore/cmd/elstore")
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// Main runs a package's tests and removes the binary that they built. For TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// Binary returns the path of the server's binary, built once for each test program.
func Binary(t testing.TB) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Pool makes a pool in a directory of root and returns its path.
func Pool(t testing.TB, root, name, settings string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Server is a running elstore.
type Server struct {
	*process
	URL    string   // of the API, without a version: http://127.0.0.1:port
	Portal string   // of iSCSI, host:port
	NBD    []string // host:port of NBD with TLS, where there are such
	Samba  string   // host:port, or "" where there are no exports over SMB
	Debug  string   // host:port of the profiles, or "" where there are none
}

// Start starts a server on root, on ports of its own unless args say which, and waits until it is ready. It is ended with the test.
func Start(t testing.TB, root string, args ...string) *Server {
	t.Helper()
	s := Launch(t, root, args...)
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Launch starts a server and does not wait.
func Launch(t testing.TB, root string, args ...string) *Server {
	t.Helper()
	if !slices.Contains(args, "--iscsi-listen") {
		args = append([]string{"--iscsi-listen", "127.0.0.1:0"}, args...)
	}
	return &Server{process: launch(t, append([]string{"serve", "--root", root, "--listen", "127.0.0.1:0"}, args...))}
}

// Ready waits until the server has written its ready file.
func (s *Server) Ready() error {
	ready, err := s.ready()
	if err != nil {
		return err
	}
	s.URL, s.Portal, s.NBD, s.Samba = "http://"+ready.API[0], ready.ISCSI[0], ready.NBD, ready.Samba
	s.Debug = ready.Debug
	return nil
}

// Answer is what the server answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Into decodes the body.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
}

// Post posts a body, a string as it is and anything else as JSON, to a path under /api/v1.0. The error is that of the connection.
func (s *Server) Post(ctx context.Context, path string, body any) (Answer, error) {
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		text = string(data)
	}
	return s.Do(ctx, http.MethodPost, path, strings.NewReader(text), nil)
}

// Do sends a request to a path under /api/v1.0. A server that does not answer for three minutes is ended, and the error is what it was at.
func (s *Server) Do(ctx context.Context, method, path string, body io.Reader, header map[string]string) (Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*patience, errHangs)
	defer cancel()
	a, err := s.do(ctx, method, path, body, header)
	if err != nil && errors.Is(context.Cause(ctx), errHangs) {
		return a, fmt.Errorf("%s %s: %w\n%s", method, path, errHangs, s.at())
	}
	return a, err
}

var errHangs = errors.New("the server does not answer")

func (s *Server) do(ctx context.Context, method, path string, body io.Reader, header map[string]string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+"/api/v1.0"+path, body)
	if err != nil {
		return Answer{}, err
	}
	for key, value := range header {
		req.Header.Set(key, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: data}, err
}

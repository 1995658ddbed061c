package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestMain lets this program be elstore itself, for tests that need a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("ELSTORE_TEST_MAIN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process makes a command of elstore in a process of its own.
func process(ctx context.Context, t *testing.T, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), "ELSTORE_TEST_MAIN=1", "ELSTORE_CLIENT=")
	stderr = new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr
}

// TestCtrlC: a real signal, in the middle of a job, an upload and a download.
func TestCtrlC(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		says string
	}{
		{"job", []string{"volume", "create", "web", "--size", "1"}, "elstore job cancel " + jobID},
		{"upload", []string{"volume", "upload", webID, image}, "The same command goes on"},
		{"download", []string{"volume", "download", webID, image + ".back"}, "The same command goes on"},
		{"list", []string{"volume", "list"}, "elstore: interrupted\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var once sync.Once
			busy := make(chan struct{}) // closed when the command waits for something that never comes
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/api/v1.0/create":
					w.Header().Set("Location", "/api/v1.0/jobs/"+jobID)
					w.WriteHeader(http.StatusAccepted)
					return
				case r.URL.Path == "/api/v1.0/jobs":
					_, _ = w.Write([]byte(`[]`))
					return
				case r.Method == http.MethodHead:
					w.Header().Set("Upload-Offset", "0")
					return
				case r.Method == http.MethodPut, r.Method == http.MethodPost:
					_, _ = new(bytes.Buffer).ReadFrom(r.Body)
				case r.URL.Path == "/api/v1.0/jobs/"+jobID:
					_, _ = w.Write([]byte(runningJob))
					once.Do(func() { close(busy) })
					return
				}
				once.Do(func() { close(busy) })
				<-r.Context().Done()
			}))
			defer web.Close()
			cmd, stderr := process(t.Context(), t, append(tt.args, "--server", web.URL)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-busy
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != exitInterrupted || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("%v, said %q, want code %d and %q", err, stderr, exitInterrupted, tt.says)
			}
		})
	}
}

// TestClosedPipe: `elstore volume list | head -1` ends without a word.
func TestClosedPipe(t *testing.T) {
	newScript(t, map[string][]reply{"GET /pools": {ok(poolList)}})
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	cmd, stderr := process(t.Context(), t, "pool", "list")
	cmd.Stdout = writer
	if err := cmd.Run(); err == nil || stderr.Len() > 0 {
		t.Errorf("%v, said %q", err, stderr)
	}
}

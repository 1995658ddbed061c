package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// server is an elstore under measurement.
type server struct {
	cmd   *exec.Cmd
	url   string
	ready time.Duration // from the start of the process to its ready file
}

func startServer(ctx context.Context, env environment, root string, more ...string) (*server, error) {
	file := filepath.Join(env.dir, "ready-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	args := []string{"serve", "--root", root, "--listen", "127.0.0.1:0", "--iscsi-listen", "127.0.0.1:0", "--ready-file", file, "--log-level", "warn"}
	cmd := exec.Command(env.bin, append(args, more...)...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd}
	for {
		data, err := os.ReadFile(file)
		var ready struct{ API []string }
		if err == nil && json.Unmarshal(data, &ready) == nil && len(ready.API) > 0 {
			s.ready, s.url = time.Since(began), "http://"+ready.API[0]+"/api/v1.0"
			return s, nil
		}
		if ctx.Err() != nil || time.Since(began) > 5*time.Minute {
			s.stop()
			return nil, fmt.Errorf("the server was not ready after %v", time.Since(began))
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait()
}

// answers are buffers that grew already: growing them would be measured too.
var answers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// post posts body and returns the answer and how long it took.
func (s *server) post(ctx context.Context, path string, body any) ([]byte, time.Duration, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	held := answers.Get().(*bytes.Buffer)
	defer answers.Put(held)
	held.Reset()
	_, err = held.ReadFrom(resp.Body)
	took := time.Since(began)
	answer := bytes.Clone(held.Bytes())
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, answer)
	}
	return answer, took, err
}

// quantile returns the q-th part of the sorted times: 0.5 is the median.
func quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

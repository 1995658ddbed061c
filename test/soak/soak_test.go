package soak

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

var (
	duration = flag.Duration("soak", 6*time.Second, "how long the load lasts, warming up not counted")
	workers  = flag.Int("workers", 6, "how many do something at the same time")
)

func TestMain(m *testing.M) { rig.Main(m) }

// usage is what a server holds, as it tells itself.
type usage struct{ memory, goroutines, files, daemons float64 }

func (u usage) String() string {
	return fmt.Sprintf("%.1f MB of heap, %.0f goroutines, %.0f descriptors, %.0f storage daemons", u.memory/1e6, u.goroutines, u.files, u.daemons)
}

// get asks on a connection that is closed at once.
func get(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", url, resp.StatusCode, err)
	}
	return body
}

// usageOf asks /metrics, after what nobody needs was collected.
func usageOf(t *testing.T, s *rig.Server) (u usage) {
	t.Helper()
	get(t, "http://"+s.Debug+"/debug/pprof/heap?gc=1")
	into := map[string]*float64{
		"go_memstats_heap_alloc_bytes": &u.memory, "go_goroutines": &u.goroutines, "process_open_fds": &u.files, "elstore_storage_daemons": &u.daemons,
	}
	found := 0
	for lines := bufio.NewScanner(bytes.NewReader(get(t, s.URL+"/metrics"))); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n := into[name]; n != nil {
			var err error
			if *n, err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
			found++
		}
	}
	if found != len(into) {
		t.Fatalf("/metrics has %d of %d numbers", found, len(into))
	}
	return u
}

// worker does what clients do, one thing after the other, with a volume of its own.
type worker struct {
	t      *testing.T
	server *rig.Server
	*rand.Rand
	id   string // its client's
	done int
}

// call posts a request that may be refused, but not fail. It returns the answer's body.
func (w *worker) call(ctx context.Context, path string, body map[string]any) map[string]any {
	a, err := w.server.Post(ctx, path, body)
	if err != nil || a.Status >= 500 && a.Status != http.StatusInsufficientStorage {
		if ctx.Err() == nil {
			w.t.Errorf("%s %v: %d %s %v", path, body, a.Status, a.Body, err)
		}
		return nil
	}
	var answer map[string]any
	if strings.HasPrefix(strings.TrimSpace(string(a.Body)), "{") {
		a.Into(w.t, &answer)
	}
	return answer
}

// round is the life of a volume.
func (w *worker) round(ctx context.Context) {
	format := []string{"raw", "qcow2"}[w.IntN(2)]
	made := w.call(ctx, "/create", map[string]any{"creatorID": w.id, "name": "soak", "size": 0.004, "format": format, "shareable": w.IntN(2) == 0})
	vid, _ := made["vid"].(string)
	if vid == "" {
		return
	}
	owned := map[string]any{"vid": vid, "creatorID": w.id}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{"volume_id": vid, "client_uid": w.id}
		for _, m := range []map[string]any{owned, more} {
			maps.Copy(all, m)
		}
		return all
	}
	for range 2 + w.IntN(4) {
		switch w.IntN(7) {
		case 0:
			w.call(ctx, "/update/resize", with(map[string]any{"size": 0.004 + float64(w.IntN(4))/1000}))
		case 1:
			w.call(ctx, "/update/convert", with(map[string]any{"format": []string{"raw", "qcow2"}[w.IntN(2)]}))
		case 2:
			if copied, ok := w.call(ctx, "/clone", with(map[string]any{"name": "copy"}))["vid"].(string); ok {
				w.call(ctx, "/destroy", map[string]any{"volume_id": copied, "creatorID": w.id, "purge": true})
			}
		case 3:
			w.call(ctx, "/accessible", map[string]any{"client_uid": w.id})
			w.call(ctx, "/exports", map[string]any{})
		default:
			answer := w.call(ctx, "/export", map[string]any{"volume_id": vid, "client_uid": w.id})
			if uri, ok := answer["uri"].(string); ok {
				out, err := exec.CommandContext(ctx, "qemu-io", "-f", "raw", "-c", "write -P 7 0 1M", "-c", "read -P 7 0 1M", uri).CombinedOutput()
				if (err != nil || strings.Contains(string(out), "failed")) && ctx.Err() == nil {
					w.t.Errorf("%v: %s", err, out)
				}
			}
			w.call(ctx, "/unexport", map[string]any{"volume_id": vid, "client_uid": w.id})
		}
	}
	w.call(ctx, "/destroy", map[string]any{"volume_id": vid, "creatorID": w.id, "purge": true})
	w.done++
}

// load keeps workers busy for a time, and returns how many rounds they did.
func load(t *testing.T, s *rig.Server, long time.Duration) (rounds int) {
	t.Helper()
	end := time.Now().Add(long)
	var busy sync.WaitGroup
	all := make([]*worker, *workers)
	for i := range all {
		all[i] = &worker{t: t, server: s, Rand: rand.New(rand.NewPCG(uint64(i), 1)), id: fmt.Sprintf("%032x", i+1)}
		busy.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				all[i].round(t.Context())
			}
		})
	}
	busy.Wait()
	http.DefaultClient.CloseIdleConnections()
	for _, w := range all {
		rounds += w.done
	}
	return rounds
}

// TestNothingIsKept: after a load the server holds what it held after an earlier one.
func TestNothingIsKept(t *testing.T) {
	need.Program(t, "qemu-img", "qemu-io", "qemu-storage-daemon")
	need.File(t, "/usr/share/doc/qemu-block-extra", "the package qemu-block-extra")
	root := t.TempDir()
	rig.Pool(t, root, "fast", `{"max-volumes": 100, "max-total-size": "1G", "bin-retention": "1s"}`)
	s := rig.Start(t, root, "--debug-listen", "127.0.0.1:0")
	// What is kept on purpose, such as pools of buffers and the last thousand jobs, is there
	// after a while; the bounds are for that.
	load(t, s, max(3*time.Second, *duration/5))
	before := usageOf(t, s)
	rounds := load(t, s, *duration)
	if rounds == 0 {
		t.Error("nothing was done")
	}
	deadline := time.After(time.Minute)
	for {
		after := usageOf(t, s)
		if after.goroutines <= before.goroutines+15 && after.files <= before.files+10 && after.daemons == 0 && after.memory <= before.memory+24e6 {
			t.Logf("%d rounds; before %s; after %s", rounds, before, after)
			break
		}
		select {
		case <-deadline:
			t.Fatalf("after %d rounds the server holds %s; before them it held %s", rounds, after, before)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if left := rig.Below(t, s.Pid(), "*"); len(left) > 0 {
		t.Errorf("%d processes are left below the server", len(left))
	}
	if entries, err := os.ReadDir(root + "/fast"); err == nil {
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".elimg") {
				t.Errorf("left is %s", e.Name())
			}
		}
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if log := s.Log(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the server logged errors: %.3000s", log)
	}
}

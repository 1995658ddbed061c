//go:build ceph

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"elstore/test/ceph"
	"elstore/test/rig"
)

// TestCephKilled kills the server at random moments while a machine writes: it sees pauses and no error, and what it flushed is there.
// CRASHES says how often, CRASH_SEED when.
func TestCephKilled(t *testing.T) {
	number := func(name string, otherwise int64) int64 {
		n, err := strconv.ParseInt(os.Getenv(name), 10, 64)
		if err != nil {
			return otherwise
		}
		return n
	}
	seed := number("CRASH_SEED", time.Now().UnixNano())
	t.Logf("CRASH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	_, s, root := onCeph(t)
	m := attach(t, exported(t, s, cephVolume(t, s, "web", 0.064)))
	again := []string{"--rescan", "1s", "--listen", strings.TrimPrefix(s.URL, "http://"), "--iscsi-listen", s.Portal}
	const areas, area = 8, 64 // KiB
	var pattern [areas]int    // that was flushed
	for n := range number("CRASHES", 12) {
		var commands []string
		for i := range areas {
			pattern[i] = 1 + random.IntN(255)
			commands = append(commands, fmt.Sprintf("aio_write -P %d %dk %dk", pattern[i], i*area, area))
			if i%2 == 1 {
				commands = append(commands, "aio_flush", "flush")
			}
		}
		wrote := make(chan string, 1)
		go func() {
			out, err := m.io(commands...)
			if err != nil || strings.Contains(out, "failed") || strings.Contains(out, "error") {
				wrote <- fmt.Sprintf("%q: %v\n%s", commands, err, out)
			}
			close(wrote)
		}()
		<-time.After(time.Duration(random.IntN(300)) * time.Millisecond) // the moment
		s.Kill()
		s = rig.Start(t, root, again...)
		if failed := <-wrote; failed != "" {
			t.Fatalf("after %d kills: %s\n%s", n+1, failed, s.Log())
		}
		commands = nil
		for i, p := range pattern {
			commands = append(commands, fmt.Sprintf("read -P %d %dk %dk", p, i*area, area))
		}
		m.must(commands...)
	}
}

// full fills the cluster, as far as its OSD can tell, or ends that.
func full(t *testing.T, c *ceph.Running, is bool) {
	t.Helper()
	ratios := map[string]string{"nearfull": "0.85", "backfillfull": "0.90", "full": "0.95"}
	if is {
		ratios = map[string]string{"nearfull": "0.0001", "backfillfull": "0.0002", "full": "0.0003"}
	}
	for name, ratio := range ratios {
		if _, err := c.Ceph(t.Context(), "osd", "set-"+name+"-ratio", ratio); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); ; { // the OSD and the monitor take their time to tell each other
		out, err := c.Ceph(t.Context(), "health", "detail")
		if err == nil && strings.Contains(string(out), "OSD_FULL") == is {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cluster is full: want %t, %v\n%s", is, err, out)
		}
		<-time.After(200 * time.Millisecond)
	}
}

// TestCephFull has the cluster full: what wants room is told so at once, what has it goes on, and so does all when there is room again.
func TestCephFull(t *testing.T) {
	cluster, s, _ := onCeph(t)
	id, idle := cephVolume(t, s, "web", 0.064), cephVolume(t, s, "idle", 0.001)
	m := attach(t, exported(t, s, id))
	m.must("write -P 1 0 16M", "flush")
	full(t, cluster, true)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for path, body := range map[string]any{
		"/ceph/create": wish("n", 0.001),
		"/clone":       map[string]any{"volume_id": idle, "creatorID": alice, "name": "copy"},
	} {
		a, err := s.Post(ctx, path, body)
		if err != nil || a.Status != 507 || !strings.Contains(string(a.Body), "full") {
			t.Errorf("%s on a full cluster: %d %s, %v", path, a.Status, a.Body, err)
		}
	}
	m.must("write -P 2 0 4M", "flush", "read -P 2 0 4M", "read -P 1 4M 4M")
	if out, err := m.io("write -P 3 40M 4M", "flush"); err == nil && !strings.Contains(out, "No space left") {
		t.Errorf("written to a full cluster: %s", out)
	}
	file := vid(t, post(t, s, "/create", map[string]any{"creatorID": alice, "name": "file", "size": 0.001, "pool": "files"}, 200))
	post(t, s, "/destroy", map[string]any{"volume_id": file, "purge": true}, 200)
	post(t, s, "/destroy", map[string]any{"volume_id": idle, "purge": true}, 200) // which makes room
	full(t, cluster, false)
	eventually(t, func() string {
		if a, err := s.Post(t.Context(), "/ceph/create", wish("n", 0.001)); err != nil || a.Status != 200 {
			return fmt.Sprintf("with room again: %d %s, %v", a.Status, a.Body, err)
		}
		return ""
	})
	m.must("write -P 3 40M 4M", "flush", "read -P 3 40M 4M", "read -P 2 0 4M", "read -P 1 4M 4M")
}

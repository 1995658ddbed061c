package qemu

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what moves while a process makes progress.
type sample struct {
	percent float64 // what it reported
	io      string  // what /proc/PID/io says it read and wrote
	blocks  int64   // of 512 bytes that its target takes
	size    int64   // of its target
}

// watch calls stalled once, and returns, if take returned the same sample for the time limit; it looks each time
// that every has passed. It returns when ctx ends.
func watch(ctx context.Context, limit, every time.Duration, take func() sample, stalled func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last, since := take(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := take()
		if now != last {
			last, since = now, time.Now()
			continue
		}
		if time.Since(since) >= limit {
			stalled()
			return
		}
	}
}

// takeSample looks at the process pid, which must not have been reaped, and the file target. What can't be read
// does not move.
func takeSample(pid int, target string, percent float64) sample {
	s := sample{percent: percent, io: readIO(pid)}
	var st unix.Stat_t
	if target != "" && unix.Stat(target, &st) == nil {
		s.blocks, s.size = st.Blocks, st.Size
	}
	return s
}

// readIO returns the counters of /proc/PID/io. They are compared, never read.
func readIO(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

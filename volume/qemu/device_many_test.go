package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// pss returns the bytes of memory of a process, its share of what it shares with others counted only.
func pss(t testing.TB, pid int) (n int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
			n, err = strconv.ParseInt(fields[1], 10, 64)
			must(t, err)
		}
	}
	return n << 10
}

// Many Devices that were used and are idle take little memory, here and in their daemons, and leave nothing behind.
func TestManyDevices(t *testing.T) {
	const many = 50
	o := realOpener(t, OpenerConfig{})
	dir := t.TempDir()
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // pools are emptied by the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	files := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	before, open, goroutines := heap(), files(), runtime.NumGoroutine()
	devices := make([]*Device, many)
	var opening sync.WaitGroup
	for i := range devices {
		path := filepath.Join(dir, fmt.Sprint(i))
		qemuImg(t, "create", "-q", "-f", "qcow2", path, "1G")
		opening.Go(func() {
			d, err := o.Open(t.Context(), OpenOptions{Name: fmt.Sprint(i), Image: Image{Path: path, Format: QCOW2}})
			if err != nil {
				t.Error(err)
				return
			}
			devices[i] = d
			mustWrite(t, d, 0, make([]byte, 4<<20))
			must(t, d.Flush(t.Context()))
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	ours := (heap() - before) / many
	theirs := int64(0)
	for _, d := range devices {
		theirs += pss(t, d.pid())
	}
	theirs /= many
	t.Logf("a Device takes %d KiB here and %d KiB in its daemon, %d files and %.1f goroutines",
		ours>>10, theirs>>10, (files()-open)/many, float64(runtime.NumGoroutine()-goroutines)/many)
	if ours > 256<<10 || theirs > 12<<20 {
		t.Error("that is too much")
	}
	var closing sync.WaitGroup
	for _, d := range devices {
		closing.Go(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	if n := files(); n > open {
		t.Errorf("%d files were open before, %d after", open, n)
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		<-time.After(time.Millisecond) // some have nothing left to do but to return
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, n)
	}
}

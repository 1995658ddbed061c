package qemu

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// benchDir is a directory in memory where there is one, so that the disk is not what is measured.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "elstore-bench-") //nolint:usetesting // in memory
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { must(b, os.RemoveAll(dir)) })
	return dir
}

// seconds returns the processor time that processes have used: this one and pid.
func cpuSeconds(b *testing.B, pid int) (ours, theirs float64) {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	ours = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // proc_pid_stat(5)
	var user, system float64
	_, err = fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system)
	must(b, err)
	const ticks = 100
	return ours, (user + system) / ticks
}

// BenchmarkDevice is of a filled image of 1 GiB. Beside it belongs, for the same image, qemu-img bench on the NBD of a daemon
// by itself.
func BenchmarkDevice(b *testing.B) {
	path := filepath.Join(benchDir(b), "image.qcow2")
	qemuImg(b, "create", "-q", "-f", "qcow2", path, "1G")
	qemuImg(b, "bench", "-q", "-w", "-f", "qcow2", "-s", "1M", "-c", "1024", "-d", "4", path)
	o := realOpener(b, OpenerConfig{Log: slog.New(slog.DiscardHandler)})
	d := openDevice(b, o, OpenOptions{Image: Image{Path: path, Format: QCOW2}})
	for _, bm := range []struct {
		name  string
		depth int
		size  int
		do    func(p []byte, off int64) (int, error)
	}{
		{"read 4k depth 1", 1, 4096, d.ReadAt},
		{"read 4k depth 32", 32, 4096, d.ReadAt},
		{"write 4k depth 1", 1, 4096, d.WriteAt},
		{"write 4k depth 32", 32, 4096, d.WriteAt},
		{"read 1M depth 4", 4, 1 << 20, d.ReadAt},
		{"write 1M depth 4", 4, 1 << 20, d.WriteAt},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(bm.size))
			ours, theirs := cpuSeconds(b, d.pid())
			var next atomic.Int64
			var users sync.WaitGroup
			for range bm.depth {
				users.Go(func() {
					p := make([]byte, bm.size)
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						if _, err := bm.do(p, i*int64(bm.size)%d.Size()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			users.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "IOPS")
			ours2, theirs2 := cpuSeconds(b, d.pid())
			b.ReportMetric((ours2-ours)*1e6/float64(b.N), "µs-CPU/op")
			b.ReportMetric((theirs2-theirs)*1e6/float64(b.N), "µs-daemon/op")
		})
	}
}

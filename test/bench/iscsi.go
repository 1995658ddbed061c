package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// load is what `qemu-img bench` asks of a server.
type load struct {
	name                string
	count, depth, bytes int
	write               bool
	tgt, nbdkit         float64 // how many times as fast as them we have to be at least; 0 is no goal
}

var loads = []load{
	{"read 4 KiB, depth 1", 15_000, 1, 4096, false, 1.4, 0},
	{"write 4 KiB, depth 1", 15_000, 1, 4096, true, 1.4, 0},
	{"read 4 KiB, depth 32", 80_000, 32, 4096, false, 3.0, 1},
	{"write 4 KiB, depth 32", 80_000, 32, 4096, true, 1.7, 1},
	{"read 1 MiB, depth 4", 2000, 4, 1 << 20, false, 3.5, 1},
	{"write 1 MiB, depth 4", 1500, 4, 1 << 20, true, 3.5, 1},
}

const (
	rounds     = 5
	imageBytes = 1 << 30
	imageID    = "0000000000000000000000000000000a"
	memoryDir  = "/dev/shm"
)

// speed is what a contender did under one load, in every round.
type speed struct {
	rates []float64 // requests per second
	cpu   []time.Duration
}

// portals measures our iSCSI target.
func portals(ctx context.Context, env environment) (rows []row, err error) {
	for _, measure := range []func(context.Context, environment) ([]row, error){portalSessions, portalSpeed} {
		more, err := measure(ctx, env)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// portalSpeed compares our target with others that serve the same image, in memory and on the disk.
func portalSpeed(ctx context.Context, env environment) (rows []row, err error) {
	inMemory, err := os.MkdirTemp(memoryDir, "elstore-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(inMemory)) }()
	for _, place := range []struct{ name, dir string }{{"memory", inMemory}, {"disk", env.dir}} {
		more, err := rawSpeed(ctx, place.name, place.dir)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	more, err := qcow2Speed(ctx, inMemory)
	return append(rows, more...), err
}

func rawSpeed(ctx context.Context, place, dir string) (rows []row, err error) {
	root := filepath.Join(dir, "root")
	image, err := furnishImage(root, "raw")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	got, err := compete(ctx, []func() (*contender, error){
		func() (*contender, error) { return startOurs(ctx, root) },
		func() (*contender, error) { return startTgt(ctx, dir, image, "--bstype rdwr") },
		func() (*contender, error) { return startNBDKit(ctx, image) },
		func() (*contender, error) { return startStorageDaemon(ctx, dir, "raw", image) },
	})
	if err != nil {
		return nil, err
	}
	for i, l := range loads {
		what := "iSCSI, raw on " + place + ", " + l.name
		rows = append(rows,
			faster(what+"; peer: tgt", got[0][i], got[1][i], l.tgt),
			faster(what+"; peer: nbdkit", got[0][i], got[2][i], l.nbdkit),
			faster(what+"; peer: qemu-storage-daemon, NBD", got[0][i], got[3][i], 0))
		if l.depth == 32 {
			ours, peer := median(got[0][i].cpu), median(got[1][i].cpu)
			ratio := float64(ours) / float64(peer)
			rows = append(rows, row{
				what: what + ": processor time per request; peer: tgt", ours: micros(ours), peer: micros(peer),
				ratio: fmt.Sprintf("%.2f", ratio), goal: "<= 0.5", missed: ratio > 0.5,
			})
		}
	}
	return rows, nil
}

// qcow2Speed compares with the daemon that is behind our target there. Each has its own copy of the image, since only
// one may open it.
func qcow2Speed(ctx context.Context, dir string) (rows []row, err error) {
	root, other := filepath.Join(dir, "root"), filepath.Join(dir, "other")
	if _, err := furnishImage(root, "qcow2"); err != nil {
		return nil, err
	}
	image, err := furnishImage(other, "qcow2")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root), os.RemoveAll(other)) }()
	got, err := compete(ctx, []func() (*contender, error){
		func() (*contender, error) { return startOurs(ctx, root) },
		func() (*contender, error) { return startStorageDaemon(ctx, dir, "qcow2", image) },
	})
	if err != nil {
		return nil, err
	}
	for i, l := range loads {
		rows = append(rows, faster("iSCSI, qcow2 in memory, "+l.name+"; peer: qemu-storage-daemon, NBD", got[0][i], got[1][i], 0.75))
	}
	return rows, nil
}

func startOurs(ctx context.Context, root string) (*contender, error) {
	c, err := startPortal(ctx, root)
	if err == nil {
		c.url += "/" + targetPrefix + imageID + "/0"
	}
	return c, err
}

// furnishImage makes a root with a pool with a volume that has no hole, and returns the path of its image.
func furnishImage(root, format string) (string, error) {
	if _, err := furnish(root, 0); err != nil {
		return "", err
	}
	dir := filepath.Join(root, "pool0", "vid."+imageID+".elimg")
	meta := fmt.Sprintf(`{"creatorID":%q,"name":"bench","private":true,"shareable":true,"alg":"cp","format":%q,"bus":"virtio","size":%d}`, owner, format, imageBytes)
	if err := furnishOne(dir, meta); err != nil {
		return "", err
	}
	image := filepath.Join(dir, "data.img")
	if err := os.Truncate(image, imageBytes); err != nil {
		return "", err
	}
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte(i*7 + i>>8)
	}
	for off := int64(0); off < imageBytes; off += int64(len(chunk)) {
		if _, err := f.WriteAt(chunk, off); err != nil {
			return "", err
		}
	}
	if err := f.Sync(); err != nil || format == "raw" {
		return image, err
	}
	converted := filepath.Join(dir, "data."+format)
	if out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", format, image, converted).CombinedOutput(); err != nil {
		return "", fmt.Errorf("qemu-img convert: %w: %s", err, out)
	}
	return converted, os.Remove(image)
}

// compete runs every load on every contender, one after the other, and that in rounds: what else the machine does
// meets them all. It returns what each did under each load.
func compete(ctx context.Context, start []func() (*contender, error)) ([][]speed, error) {
	var all []*contender
	defer func() {
		for _, c := range all {
			c.stop()
		}
	}()
	got := make([][]speed, len(start))
	for i, f := range start {
		c, err := f()
		if err != nil {
			return nil, err
		}
		all, got[i] = append(all, c), make([]speed, len(loads))
	}
	for range rounds {
		for i := range loads {
			for k, c := range all {
				if err := c.bench(ctx, &loads[i], &got[k][i]); err != nil {
					return nil, err
				}
			}
		}
	}
	return got, nil
}

var completed = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

// bench runs a load once.
func (c *contender) bench(ctx context.Context, l *load, to *speed) error {
	args := []string{"bench", "-f", "raw", "-c", strconv.Itoa(l.count), "-d", strconv.Itoa(l.depth), "-s", strconv.Itoa(l.bytes)}
	if l.write {
		args = append(args, "-w")
	}
	before, err := c.cpu()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "qemu-img", append(args, c.url)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img bench of %s: %w: %s", c.name, err, out)
	}
	after, err := c.cpu()
	if err != nil {
		return err
	}
	match := completed.FindSubmatch(out)
	if match == nil {
		return fmt.Errorf("qemu-img bench said %q", out)
	}
	took, err := strconv.ParseFloat(string(match[1]), 64)
	to.rates = append(to.rates, float64(l.count)/took)
	to.cpu = append(to.cpu, (after-before)/time.Duration(l.count))
	return err
}

// faster compares two speeds; with a goal of 0 the ratio is only told.
func faster(what string, ours, peer speed, goal float64) row {
	ratio := median(ours.rates) / median(peer.rates)
	r := row{what: what, ours: ours.String(), peer: peer.String(), ratio: fmt.Sprintf("%.2f", ratio)}
	if goal > 0 {
		r.goal, r.missed = fmt.Sprintf(">= %.2g", goal), ratio < goal
	}
	return r
}

// String is how many requests there were per second, and what processor time each of them took.
func (s speed) String() string {
	return strings.Join([]string{strconv.Itoa(int(median(s.rates))) + "/s", micros(median(s.cpu))}, ", ")
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1e3) }

func median[T cmp.Ordered](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"elstore/test/ceph"
	"elstore/volume"
	"elstore/volume/rbd"
)

// cephLoads are what is measured on a cluster: both ways of rbd bench are sequential, as those of qemu-img bench are. The first one leaves no
// hole in what the others touch.
var cephLoads = []struct {
	load
	goal float64 // of rbd bench
}{
	{load{name: "4 MiB write, depth 4", count: 100, depth: 4, bytes: 4 << 20, write: true}, 0.7},
	{load{name: "4 MiB read, depth 4", count: 100, depth: 4, bytes: 4 << 20}, 0.7},
	{load{name: "4 KiB write, depth 32", count: 10000, depth: 32, bytes: 4 << 10, write: true}, 0.7},
	{load{name: "4 KiB read, depth 32", count: 10000, depth: 32, bytes: 4 << 10}, 0.7},
}

// onCeph measures pools on clusters of this machine's own. It needs a server that was built with Ceph.
func onCeph(ctx context.Context, env environment) (rows []row, err error) {
	c, end, err := startCluster(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	onDisk, endDisk, err := startCluster(ctx, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, endDisk()) }()
	root := filepath.Join(env.dir, "root")
	for name, settings := range map[string]string{"cluster": c.Settings(), "disk": onDisk.Settings(), "many": c.Settings(), "files": "{}"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(root, name, "settings.json"), []byte(settings), 0o600); err != nil {
			return nil, err
		}
	}
	fsid, err := c.Ceph(ctx, "fsid")
	if err != nil {
		return nil, err
	}
	const many = 10_000
	ref := rbd.Ref{Cluster: strings.TrimSpace(string(fsid)), Pool: ceph.Pool}
	onCluster, err := furnishMany(filepath.Join(root, "many"), volume.RBD, many, func(id volume.ID) []byte {
		r := ref
		r.Image = "elstore." + id.String() + ".bench"
		return r.Encode()
	})
	if err == nil {
		_, err = furnishMany(filepath.Join(root, "files"), volume.Raw, many, func(volume.ID) []byte { return make([]byte, 4096) })
	}
	if err != nil {
		return nil, err
	}
	env.bin = env.cephBin
	s, err := startServer(ctx, env, root)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	for _, measure := range []func() ([]row, error){
		func() ([]row, error) { return cephSpeed(ctx, env, s, c, "cluster", "Ceph in memory") },
		func() ([]row, error) { return cephSpeed(ctx, env, s, onDisk, "disk", "Ceph on disk") },
		func() ([]row, error) { return cephClone(ctx, s) },
		func() ([]row, error) { return cephList(ctx, s, onCluster) },
	} {
		more, err := measure()
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// startCluster starts a cluster with its data in memory or on this machine's disk. With memory its OSD takes a write that covers an object as
// it came, for next to no work: whatever else a write passes through weighs more there than with any real cluster.
func startCluster(ctx context.Context, disk bool) (c *ceph.Cluster, end func() error, err error) {
	dir, err := os.MkdirTemp("", "ceph-") // short, since unix sockets lie in it
	if err != nil {
		return nil, nil, err
	}
	const size = 16 << 30
	c = ceph.New(dir, size)
	c.Disk = disk
	end = func() error { return errors.Join(c.Down(), os.RemoveAll(dir)) }
	if err := c.Up(ctx); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return c, end, nil
}

const benchOwner = "00000000000000000000000000000001"

// onCeph makes a volume in a pool on a cluster.
func (s *server) onCeph(ctx context.Context, pool, name string, gb float64) (string, error) {
	data, _, err := s.post(ctx, "/ceph/create", map[string]any{"creatorID": benchOwner, "name": name, "size": gb, "pool": pool})
	var made struct{ VID string }
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	return made.VID, err
}

// cephSpeed compares our export of an image with what librbd does by itself, with and without QEMU, and with tgt: as it comes, when it
// acknowledges what only its own memory has and a kill would lose, and without that cache, which is what we promise.
func cephSpeed(ctx context.Context, env environment, s *server, c *ceph.Cluster, pool, where string) (rows []row, err error) {
	id, err := s.onCeph(ctx, pool, "speed", 4)
	if err != nil {
		return nil, err
	}
	data, _, err := s.post(ctx, "/export", map[string]any{"volume_id": id, "client_uid": benchOwner})
	var export struct{ URI string }
	if err == nil {
		err = json.Unmarshal(data, &export)
	}
	if err != nil {
		return nil, err
	}
	ours := &contender{name: "elstore", url: export.URI, cmd: s.cmd}
	for _, image := range []string{"plain", "qemu", "tgt", "cached"} {
		if _, err := c.RBD(ctx, "create", ceph.Pool+"/"+image, "--size", "4G"); err != nil {
			return nil, err
		}
	}
	conf, err := os.ReadFile(c.Conf())
	if err != nil {
		return nil, err
	}
	uncached := filepath.Join(env.dir, pool+".conf")
	if err := os.WriteFile(uncached, append(conf, "[client]\nrbd_cache = false\n"...), 0o600); err != nil {
		return nil, err
	}
	tgt := func(image, conf string) (*contender, error) {
		dir, err := os.MkdirTemp(env.dir, "tgt")
		if err != nil {
			return nil, err
		}
		return startTgt(ctx, dir, ceph.Pool+"/"+image, "--bstype rbd --bsopts conf="+conf+";id=admin")
	}
	peer, err := tgt("tgt", uncached)
	if err != nil {
		return nil, err
	}
	defer peer.stop()
	cached, err := tgt("cached", c.Conf())
	if err != nil {
		return nil, err
	}
	defer cached.stop()
	qemu := "rbd:" + ceph.Pool + "/qemu:conf=" + uncached
	all := []func(l *load, to *speed) error{
		func(l *load, to *speed) error { return ours.bench(ctx, l, to) },
		func(l *load, to *speed) error { return rbdBench(ctx, c, l, to) },
		func(l *load, to *speed) error { return qemuBench(ctx, qemu, l, to) },
		func(l *load, to *speed) error { return peer.bench(ctx, l, to) },
		func(l *load, to *speed) error { return cached.bench(ctx, l, to) },
	}
	for _, l := range cephLoads {
		got, err := inTurn(&l.load, all)
		if err != nil {
			return rows, err
		}
		what := where + ", iSCSI, " + l.name
		for i, peer := range []struct {
			name string
			goal float64
		}{{"rbd bench", l.goal}, {"QEMU's rbd", 0}, {"tgt, no cache", 1}, {"tgt, cached", 0}} {
			rows = append(rows, paired(what+" (peer: "+peer.name+")", got[0], got[i+1], peer.goal))
		}
	}
	return rows, nil
}

// inTurn runs a load on every contender in each round, forwards and backwards by turns, so that what else the machine does meets them alike.
// A first round doesn't count: it makes the objects, and touches the memory, that later ones find.
func inTurn(l *load, all []func(l *load, to *speed) error) ([]speed, error) {
	got := make([]speed, len(all))
	for round := range rounds + 1 {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			to := &got[i]
			if round == 0 {
				to = &speed{}
			}
			if err := all[i](l, to); err != nil {
				return nil, err
			}
		}
	}
	return got, nil
}

// paired compares two speeds round by round, and takes the median of the ratios: on a machine that is busy with other things the
// contenders of one round had it about as hard.
func paired(what string, ours, peer speed, goal float64) row {
	var ratios []float64
	for i, rate := range ours.rates {
		ratios = append(ratios, rate/peer.rates[i])
	}
	ratio := median(ratios)
	r := faster(what, ours, peer, 0)
	r.ratio = fmt.Sprintf("%.2f", ratio)
	if goal > 0 {
		r.goal, r.missed = fmt.Sprintf(">= %.2g", goal), ratio < goal
	}
	return r
}

var benched = regexp.MustCompile(`ops/sec: ([0-9.]+)`)

// rbdBench runs a load with librbd's own tool, without a cache, as ours is.
func rbdBench(ctx context.Context, c *ceph.Cluster, l *load, to *speed) error {
	kind := "read"
	if l.write {
		kind = "write"
	}
	cmd := exec.CommandContext(ctx, "rbd", "-c", c.Conf(), "--rbd_cache=false", "bench", ceph.Pool+"/plain", "--io-type", kind, "--io-size", strconv.Itoa(l.bytes),
		"--io-threads", strconv.Itoa(l.depth), "--io-total", strconv.Itoa(l.bytes*l.count), "--io-pattern", "seq")
	out, err := cmd.CombinedOutput()
	match := benched.FindSubmatch(out)
	if err != nil || match == nil {
		return fmt.Errorf("rbd bench: %w: %s", err, out)
	}
	rate, err := strconv.ParseFloat(string(match[1]), 64)
	to.rates = append(to.rates, rate)
	to.cpu = append(to.cpu, spent(cmd)/time.Duration(l.count))
	return err
}

// qemuBench runs a load with QEMU's own driver, without a cache. Its processor time is all that there is, since the driver is in it.
func qemuBench(ctx context.Context, url string, l *load, to *speed) error {
	args := []string{"bench", "-t", "none", "-f", "raw", "-c", strconv.Itoa(l.count), "-d", strconv.Itoa(l.depth), "-s", strconv.Itoa(l.bytes)}
	if l.write {
		args = append(args, "-w")
	}
	cmd := exec.CommandContext(ctx, "qemu-img", append(args, url)...)
	out, err := cmd.CombinedOutput()
	match := completed.FindSubmatch(out)
	if err != nil || match == nil {
		return fmt.Errorf("qemu-img bench of %s: %w: %s", url, err, out)
	}
	took, err := strconv.ParseFloat(string(match[1]), 64)
	to.rates = append(to.rates, float64(l.count)/took)
	to.cpu = append(to.cpu, spent(cmd)/time.Duration(l.count))
	return err
}

// spent is the processor time that a command used which has ended.
func spent(cmd *exec.Cmd) time.Duration {
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// cephClone measures clones of an image of 100 GiB.
func cephClone(ctx context.Context, s *server) ([]row, error) {
	id, err := s.onCeph(ctx, "cluster", "large", 107.3741824)
	if err != nil {
		return nil, err
	}
	took, err := times(ctx, 20, func(ctx context.Context, n int) (time.Duration, error) {
		_, took, err := s.post(ctx, "/clone", map[string]any{"volume_id": id, "creatorID": benchOwner, "name": "copy" + strconv.Itoa(n)})
		return took, err
	})
	if err != nil {
		return nil, err
	}
	return []row{atMost("Ceph, clone of 100 GiB, median", quantile(took, 0.5), 300*time.Millisecond)}, nil
}

// cephList compares lists of volumes on a cluster with lists of files: nobody asks the cluster.
func cephList(ctx context.Context, s *server, ids []string) ([]row, error) {
	list := func(format string) (time.Duration, error) {
		took, err := times(ctx, 10, func(ctx context.Context, _ int) (time.Duration, error) {
			data, took, err := s.post(ctx, "/accessible", map[string]any{"client_uid": benchOwner, "format": format})
			if err == nil && strings.Count(string(data), `"volumeID"`) < len(ids) {
				err = fmt.Errorf("a list of %s volumes lacks some of %d", format, len(ids))
			}
			return took, err
		})
		return quantile(took, 0.5), err
	}
	raw, err := list("raw")
	if err != nil {
		return nil, err
	}
	ours, err := list("rbd")
	if err != nil {
		return nil, err
	}
	ratio := float64(ours) / float64(raw)
	return []row{{
		what: fmt.Sprintf("Ceph, list of %d volumes (peer: files)", len(ids)), ours: ours.String(), peer: raw.String(),
		ratio: fmt.Sprintf("%.2f", ratio), goal: "<= 1.5", missed: ratio > 1.5,
	}}, nil
}

// furnishMany makes n volumes in a pool by hand.
func furnishMany(pool string, format volume.Format, n int, data func(id volume.ID) []byte) (ids []string, err error) {
	for i := range n {
		id := volume.NewID()
		dir := filepath.Join(pool, "vid."+id.String()+".elimg")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		meta := fmt.Sprintf(`{"creatorID":%q,"name":"many%d","format":%q,"size":4096}`, benchOwner, i, format)
		for name, content := range map[string][]byte{"data." + format.Ext(): data(id), "meta.json": []byte(meta)} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id.String())
	}
	return ids, nil
}

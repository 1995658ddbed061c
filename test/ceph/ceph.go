// Package ceph runs a whole Ceph cluster of one monitor and one OSD on this machine, for tests and for people who try things: on
// loopback, in a directory of its own, with data in memory, ready in two or three seconds. It needs the programs of Debian's
// ceph-mon, ceph-osd and ceph-common, and no root.
package ceph

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Programs are what a cluster needs to run.
var Programs = []string{"ceph-mon", "ceph-osd", "ceph", "rbd", "ceph-authtool", "monmaptool"}

// Pool is the RADOS pool that every cluster has.
const Pool = "volumes"

// Cluster is a cluster in a directory.
type Cluster struct {
	Dir  string
	Disk bool  // its data lies in Dir, as a real one's lies on disks, and not in memory
	size int64 // of the OSD in bytes
}

// New names a cluster in a directory, which must be absolute and may be empty. Its OSD takes size bytes at most.
func New(dir string, size int64) *Cluster { return &Cluster{Dir: dir, size: size} }

// Conf returns the path of the ceph.conf.
func (c *Cluster) Conf() string { return filepath.Join(c.Dir, "ceph.conf") }

// Keyring returns the path of the key of client.admin.
func (c *Cluster) Keyring() string { return filepath.Join(c.Dir, "client.admin.keyring") }

// Settings returns the settings.json of a pool on the cluster.
func (c *Cluster) Settings() string {
	return fmt.Sprintf(`{"ceph": {"pool": %q, "conf": %q, "keyring": %q}}`+"\n", Pool, c.Conf(), c.Keyring())
}

// Make writes the configuration, the keys and the monitor's and the OSD's first state.
func (c *Cluster) Make(ctx context.Context) error {
	for _, name := range []string{"", "run", "log", "tmp", "mon", "osd"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, name), 0o700); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	fsid := uuid()
	if err := os.WriteFile(c.Conf(), []byte(c.configuration(fsid, port)), 0o600); err != nil {
		return err
	}
	mon := filepath.Join(c.Dir, "mon.keyring")
	monmap := filepath.Join(c.Dir, "monmap")
	return all(ctx,
		[]string{"ceph-authtool", "--create-keyring", mon, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"},
		[]string{
			"ceph-authtool", "--create-keyring", c.Keyring(), "--gen-key", "-n", "client.admin",
			"--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *",
		},
		[]string{"ceph-authtool", mon, "--import-keyring", c.Keyring()},
		[]string{"monmaptool", "--create", "--clobber", "--addv", "a", fmt.Sprintf("[v2:127.0.0.1:%d]", port), "--fsid", fsid, monmap},
		[]string{"ceph-mon", "-c", c.Conf(), "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", mon},
	)
}

// Join makes the OSD known to the monitor, which runs.
func (c *Cluster) Join(ctx context.Context) error {
	id, secret := uuid(), ""
	out, err := run(ctx, nil, "ceph-authtool", "--gen-print-key")
	if err != nil {
		return err
	}
	secret = strings.TrimSpace(string(out))
	if _, err := run(ctx, []byte(`{"cephx_secret":"`+secret+`"}`), "ceph", "-c", c.Conf(), "--connect-timeout", "20", "osd", "new", id, "0", "-i", "-"); err != nil {
		return err
	}
	keyring := filepath.Join(c.Dir, "osd.0.keyring")
	if err := os.MkdirAll(filepath.Join(c.Dir, "osd", "0"), 0o700); err != nil {
		return err
	}
	return all(ctx,
		[]string{"ceph-authtool", "--create-keyring", keyring, "--name", "osd.0", "--add-key", secret},
		[]string{"ceph-osd", "-c", c.Conf(), "-i", "0", "--mkfs", "--osd-uuid", id, "--keyring", keyring},
	)
}

// Fill waits for the OSD, which runs, and makes the pool.
func (c *Cluster) Fill(ctx context.Context) error {
	for {
		var stat struct {
			Up int `json:"num_up_osds"`
		}
		out, err := c.Ceph(ctx, "osd", "stat", "-f", "json")
		if err != nil {
			return err
		}
		if json.Unmarshal(out, &stat) == nil && stat.Up > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return c.MakePool(ctx, Pool)
}

// MakePool makes another RADOS pool for images.
func (c *Cluster) MakePool(ctx context.Context, name string) error {
	if _, err := c.Ceph(ctx, "osd", "pool", "create", name, "8", "8", "replicated"); err != nil {
		return err
	}
	_, err := c.RBD(ctx, "pool", "init", name)
	return err
}

// Ceph runs the command ceph as client.admin and returns what it said.
func (c *Cluster) Ceph(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, nil, "ceph", append([]string{"-c", c.Conf(), "--connect-timeout", "20"}, args...)...)
}

// RBD runs the command rbd as client.admin and returns what it said.
func (c *Cluster) RBD(ctx context.Context, args ...string) ([]byte, error) {
	return run(ctx, nil, "rbd", append([]string{"-c", c.Conf()}, args...)...)
}

// monitor and osd are the commands that run the two, in the foreground.
func (c *Cluster) monitor() []string {
	return []string{"ceph-mon", "-f", "-c", c.Conf(), "-i", "a"}
}

func (c *Cluster) osd() []string {
	return []string{"ceph-osd", "-f", "-c", c.Conf(), "-i", "0"}
}

func (c *Cluster) configuration(fsid string, port int) string {
	store := "memstore"
	if c.Disk {
		store = "bluestore"
	}
	return strings.NewReplacer("FSID", fsid, "STORE", store, "PORT", strconv.Itoa(port), "OSDPORTS", strconv.Itoa(port), "DIR", c.Dir, "SIZE", strconv.FormatInt(c.size, 10)).Replace(`[global]
fsid = FSID
mon_initial_members = a
mon_host = [v2:127.0.0.1:PORT]
public_addr = 127.0.0.1
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
ms_bind_ipv6 = false
ms_bind_port_min = 20000
ms_bind_port_max = 32000
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = DIR/$name.keyring
log_file = DIR/log/$name.log
mon_cluster_log_file = DIR/log/cluster.log
run_dir = DIR/run
admin_socket =
pid_file = DIR/run/$name.pid
crash_dir = DIR/tmp
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
[client]
log_file =
[mon]
mon_data = DIR/mon/a
auth_allow_insecure_global_id_reclaim = false
mon_data_avail_crit = 1
mon_data_avail_warn = 1
mon_cluster_log_to_syslog = false
mon_osd_min_down_reporters = 1
mon_osd_down_out_interval = 0
mon_memory_target = 268435456
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_data = DIR/osd/0
osd_objectstore = STORE
memstore_device_bytes = SIZE
bluestore_block_size = SIZE
bluestore_block_db_create = false
bluestore_block_wal_create = false
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_class_update_on_start = false
osd_memory_target = 939524096
osd_client_watch_timeout = 10
osd_pool_default_read_lease_ratio = 1000
`)
}

// freePort finds a port that is free now.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// all runs commands, one after the other.
func all(ctx context.Context, commands ...[]string) error {
	for _, c := range commands {
		if _, err := run(ctx, nil, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command and returns what it wrote to its standard output.
func run(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	if input != nil {
		cmd.Stdin = strings.NewReader(string(input))
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out, nil
}

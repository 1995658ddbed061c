//go:build ceph

package rbd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"

	"elstore/volume/fault"
)

// patience is how long librados waits for a monitor or an OSD in work that somebody waits for.
const patience = 5 * time.Second

// Open connects to the cluster. The error says in a sentence what of the configuration is wrong, or that the cluster doesn't answer.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	type opened struct {
		d   *librbd
		err error
	}
	done := make(chan opened, 1)
	go func() {
		d, err := connect(cfg)
		done <- opened{d, err}
	}()
	const most = 4 * patience // two connections, each by a monitor and then an OSD
	timer := time.NewTimer(most)
	defer timer.Stop()
	var is opened
	select {
	case is = <-done:
	case <-ctx.Done():
		is.err = context.Cause(ctx)
	case <-timer.C:
		is.err = fault.Errorf(fault.PoolUnavailable, "the Ceph cluster did not answer within %s", most)
	}
	if is.err != nil {
		if is.d == nil {
			go func() { // it may come to its end yet
				if late := <-done; late.d != nil {
					_ = late.d.Close()
				}
			}()
		}
		return nil, is.err
	}
	s := NewStore(cfg, is.d)
	return s, nil
}

// librbd is the Driver of the real cluster.
type librbd struct {
	cfg   Config
	fsid  string
	work  link // whose calls come back
	data  link // whose calls wait for the cluster
	queue *queue
}

// link is a connection to the cluster.
type link struct {
	conn *rados.Conn
	pool *rados.IOContext
}

var _ Driver = (*librbd)(nil)

// connect opens both connections.
func connect(cfg Config) (_ *librbd, err error) {
	d := &librbd{cfg: cfg}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	if d.queue, err = newQueue(); err != nil {
		return nil, err
	}
	if d.work, err = dial(cfg, patience); err != nil {
		return nil, err
	}
	if d.fsid, err = d.work.conn.GetFSID(); err != nil {
		return nil, classify("ask the Ceph cluster for its id", translate(err))
	}
	if err := d.Ping(); err != nil {
		return nil, classify(fmt.Sprintf("use the Ceph pool %q as client.%s", cfg.Pool, user(cfg)), err)
	}
	d.data, err = dial(cfg, 0)
	return d, err
}

func user(cfg Config) string {
	if cfg.User == "" {
		return "admin"
	}
	return cfg.User
}

// dial opens a connection, whose calls come back after osd without an answer of one; 0 is never.
func dial(cfg Config, osd time.Duration) (l link, err error) {
	bad := func(format string, args ...any) (link, error) {
		l.close()
		return link{}, fault.Errorf(fault.PoolUnavailable, format, args...)
	}
	if l.conn, err = rados.NewConnWithUser(user(cfg)); err != nil {
		return bad("librados can't be started: %w", translate(err))
	}
	name := cfg.Conf
	if name == "" {
		name = "/etc/ceph/ceph.conf"
	}
	if f, err := os.Open(name); err != nil {
		return bad("the Ceph configuration %s can't be read: %s", name, reason(err))
	} else {
		_ = f.Close()
	}
	if err := l.conn.ReadConfigFile(name); err != nil {
		return bad("the Ceph configuration %s can't be understood: %w", name, translate(err))
	}
	if cfg.Keyring != "" {
		if f, err := os.Open(cfg.Keyring); err != nil {
			return bad("the Ceph keyring %s can't be read: %s", cfg.Keyring, reason(err))
		} else {
			_ = f.Close()
		}
	}
	for key, value := range options(cfg, osd) {
		if err := l.conn.SetConfigOption(key, value); err != nil {
			return bad("Ceph's option %s can't be set: %w", key, translate(err))
		}
	}
	if err := l.conn.Connect(); err != nil {
		switch errno(translate(err)) {
		case syscall.ETIMEDOUT:
			return bad("the Ceph cluster doesn't answer: is mon_host right in %s, and is there a monitor", name)
		case syscall.EACCES, syscall.EPERM, syscall.EINVAL, syscall.ENOTSUP:
			return bad("the Ceph cluster doesn't let in client.%s: the key is wrong, or nobody of that name is known there", user(cfg))
		case syscall.ENOENT:
			return bad("the Ceph cluster can't be used as client.%s: no keyring with its key was found", user(cfg))
		}
		return bad("the Ceph cluster can't be reached: %w", translate(err))
	}
	if l.pool, err = l.conn.OpenIOContext(cfg.Pool); err != nil {
		if errno(translate(err)) == syscall.ENOENT {
			return bad("the Ceph cluster has no pool %q", cfg.Pool)
		}
		return bad("the Ceph pool %q can't be opened: %w", cfg.Pool, translate(err))
	}
	// Else what wants room on a full cluster waits until there is some, and what gives back room too.
	if err := l.pool.SetPoolFullTry(); err != nil {
		return bad("the Ceph pool %q can't be used: %w", cfg.Pool, translate(err))
	}
	return l, nil
}

// options are what a connection is told beside ceph.conf.
func options(cfg Config, osd time.Duration) map[string]string {
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
	o := map[string]string{
		"client_mount_timeout":     seconds(patience),
		"rados_mon_op_timeout":     seconds(patience),
		"rados_osd_op_timeout":     seconds(osd),
		"rbd_cache":                "false", // what is acknowledged is on the cluster
		"rbd_skip_partial_discard": "false", // a discarded range reads as zeros, to the sector
		"rbd_default_clone_format": "2",
		"rbd_validate_pool":        "false",
		// What is written is nobody else's until its request is over: it need not be copied.
		"rbd_disable_zero_copy_writes": "false",
	}
	if cfg.Keyring != "" {
		o["keyring"] = cfg.Keyring
	}
	return o
}

func (l link) close() {
	if l.pool != nil {
		l.pool.Destroy()
	}
	if l.conn != nil {
		hangUp(l.conn)
	}
}

// reason is what the operating system says, without the path.
func reason(err error) string {
	if n := errno(err); n != 0 {
		return n.Error()
	}
	return err.Error()
}

// translate makes an error of go-ceph one with a syscall.Errno.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if coded, ok := errors.AsType[interface {
		error
		ErrorCode() int
	}](err); ok && coded.ErrorCode() != 0 {
		n := coded.ErrorCode()
		return fmt.Errorf("%w (%w)", syscall.Errno(max(n, -n)), err)
	}
	return err
}

// newImage are the options of images that are made.
func newImage(clone bool) (*rbd.ImageOptions, error) {
	const features = rbd.FeatureLayering | rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff | rbd.FeatureDeepFlatten
	o := rbd.NewRbdImageOptions()
	err := o.SetUint64(rbd.ImageOptionFeatures, features)
	if err == nil && clone {
		err = o.SetUint64(rbd.ImageOptionCloneFormat, 2)
	}
	if err != nil {
		o.Destroy()
		return nil, translate(err)
	}
	return o, nil
}

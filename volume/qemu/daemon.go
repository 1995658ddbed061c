package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// daemon is a process of qemu-storage-daemon that exports one image.
//
// It is born without the image, is given its limits, and is told over QMP what to open. Its sockets are inherited, or made
// in a directory that is, so that nobody else can connect to them. With them it inherits the descriptors that the caller
// names, such as that of the volume's lock: the lock is free only when the daemon is gone too. It belongs to the thread that started it: when that
// ends, because this process does, however it ends, the kernel sends SIGTERM, on which QEMU writes what it holds in memory
// and exits.
type daemon struct {
	pid    int
	born   time.Time
	qmp    *qmp
	nbd    *rendezvous
	door   *door
	queue  bool // it is exported
	cmd    *exec.Cmd
	stderr capture
	times  waits
	log    *slog.Logger

	done chan struct{} // closed when the process is gone
	err  error         // what waiting for it said; nil if it exited with 0. Valid when done is closed
}

// startDaemon starts a daemon that exports what o names.
func (o *Opener) startDaemon(ctx context.Context, open OpenOptions, inherit []*os.File) (*daemon, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.times.start, errors.New("the storage daemon took too long to start"))
	defer cancel()
	d, err := o.launch(ctx, open, inherit)
	if err != nil {
		return nil, err
	}
	if err := d.export(ctx, open); err != nil {
		_ = d.stop() //nolint:contextcheck // what was begun is ended whatever becomes of ctx
		return nil, d.failure("open the image", err, open)
	}
	return d, nil
}

// launch starts the process and connects to its monitor.
func (o *Opener) launch(ctx context.Context, open OpenOptions, inherit []*os.File) (_ *daemon, err error) {
	path, err := o.program()
	if err != nil {
		return nil, err
	}
	monitor, theirs, err := socketPair()
	if err != nil {
		return nil, fault.FromOS("start the storage daemon", err)
	}
	defer theirs.Close()
	nbd, err := newRendezvous(o.config.Dir)
	if err != nil {
		_ = monitor.Close()
		return nil, fault.FromOS("start the storage daemon", err)
	}
	door, err := newDoor(o.config.Dir)
	if err != nil {
		nbd.close()
		_ = monitor.Close()
		return nil, fault.FromOS("start the storage daemon", err)
	}
	d := &daemon{nbd: nbd, door: door, stderr: capture{limit: maxErrors}, times: o.times, log: o.config.Log, done: make(chan struct{})}
	err = d.start(path, append(open.rules(), door.rule()), append([]*os.File{theirs, nbd.listener, door.at}, inherit...), &o.running)
	nbd.accepting()
	if err != nil {
		nbd.close()
		door.close()
		_ = monitor.Close()
		o.forget(err)
		return nil, &fault.Error{Code: fault.ImageToolFailed, Msg: "qemu-storage-daemon can't be started", Err: err}
	}
	theirs.Close() //nolint:errcheck,gosec // else the end of the process would not be the end of the connection
	if err = daemonLimits(d.pid); err == nil {
		d.qmp, err = newQMP(ctx, monitor, nil)
	}
	if err != nil {
		_ = monitor.Close()
		_ = d.stop() //nolint:contextcheck // what was begun is ended whatever becomes of ctx
		return nil, d.failure("start", err, open)
	}
	return d, nil
}

// doorFD is the descriptor that the directory of the door has in the daemon.
const doorFD = 5

// start starts the process, with files from descriptor 3 on, from a thread of its own. running counts it as long as it lives.
func (d *daemon) start(path string, rules []fileRule, files []*os.File, running *atomic.Int64) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	d.cmd = exec.Command(path, "--chardev", "socket,id=qmp,fd=3", "--monitor", "chardev=qmp", "--nbd-server", "addr.type=fd,addr.str=4") //nolint:gosec,noctx // it ends by stop
	d.cmd.Env = environment()
	d.cmd.Dir = "/" // it holds no file system in use
	d.cmd.Stdin, d.cmd.Stdout, d.cmd.Stderr = null, null, &d.stderr
	d.cmd.ExtraFiles = files
	d.cmd.WaitDelay = killWait
	d.cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGTERM,
		Setpgid:   true, // a terminal's Ctrl-C is for the server, which ends its work in order
	}
	started := make(chan error)
	onOwnThread(func() {
		err := confine(path, rules)
		if err == nil {
			err = d.cmd.Start()
		}
		if err == nil {
			running.Add(1)
		}
		started <- err
		if err != nil {
			return
		}
		d.err = d.cmd.Wait()
		running.Add(-1)
		close(d.done)
	})
	if err := <-started; err != nil {
		return err
	}
	d.pid, d.born = d.cmd.Process.Pid, time.Now()
	return nil
}

// daemonLimits puts limits on the process. Measured with QEMU 7.2: 230 MiB of address space when it begins. On top of
// that come the buffers of 16 requests of 4 MiB, 64 threads with stacks of 8 MiB, some hundred coroutines with stacks of
// 1 MiB, and the cache of L2 tables of 32 MiB.
func daemonLimits(pid int) error {
	for _, l := range []struct {
		resource int
		max      uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_AS, 2048 * mib}, {unix.RLIMIT_NOFILE, 256}} {
		if err := setLimit(pid, l.resource, l.max, l.max); err != nil {
			return fmt.Errorf("limit the storage daemon: %w", err)
		}
	}
	return nil
}

// stop ends the process: first it is asked to, then told, and killed only after it had long to write what it holds. The
// error says that it is not gone even so, as when it waits for storage that does not answer; it is left alone then, and
// keeps what it inherited.
func (d *daemon) stop() error {
	if d.qmp != nil {
		ctx, cancel := context.WithTimeout(context.Background(), d.times.quit)
		defer cancel()
		if d.qmp.do(ctx, "quit", nil, nil) == nil && d.wait(d.times.quit) {
			return d.gone()
		}
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may be gone by itself
	if d.wait(d.times.term) {
		return d.gone()
	}
	return d.kill()
}

// kill ends the process at once.
func (d *daemon) kill() error {
	_ = d.cmd.Process.Kill() // it may be gone by itself
	if d.wait(d.times.kill) {
		return d.gone()
	}
	return fmt.Errorf("the storage daemon, process %d, does not end", d.pid)
}

// wait reports whether the process is gone within limit.
func (d *daemon) wait(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-d.done:
		return true
	case <-timer.C:
		return false
	}
}

// gone frees what is left of a process that is gone.
func (d *daemon) gone() error {
	if d.qmp != nil {
		d.qmp.close()
	}
	d.nbd.close()
	d.door.close()
	return nil
}

// failure makes the error of a daemon that failed to do something with the image.
func (d *daemon) failure(what string, err error, open OpenOptions) error {
	images := []Image{open.Image}
	if open.Base != nil {
		images = append(images, *open.Base)
	}
	text := err.Error()
	refusal, refused := errors.AsType[*qmpError](err)
	if refused {
		text = refusal.Desc
	}
	if s := d.said(); s != "" && !refused {
		err = fmt.Errorf("%w: %q", err, s)
		text = s
	}
	return &fault.Error{Code: signOf(text), Msg: fmt.Sprintf("the storage daemon failed to %s: %s", what, said(text, images)), Err: err}
}

// said returns what the process wrote to stderr, once it is gone.
func (d *daemon) said() string {
	select {
	case <-d.done:
		return strings.TrimSpace(string(d.stderr.kept))
	default:
		return ""
	}
}

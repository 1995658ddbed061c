package samba

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	confPath   = sambaDir + "/smb.conf"
	changePath = sambaDir + "/change.reg"

	startWait = 30 * time.Second // for smbd to listen
	toolWait  = 30 * time.Second // for one of its tools
	stopWait  = 5 * time.Second  // for smbd to end in order

	firstPause = 100 * time.Millisecond // before an smbd that died is started again
	lastPause  = 10 * time.Second
)

// smbd is Samba's server in its cell, kept alive. Its methods may be called at the same time.
type smbd struct {
	ledger ledger

	cell *cell
	at   *net.TCPAddr
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{} // closed when it has ended for good

	mu      sync.Mutex
	ready   chan struct{} // closed when it listens; made anew when it dies
	up      bool
	last    error  // why it isn't up
	lastUID uint32 // that an attachment got
}

var _ server = (*smbd)(nil)

// startSMBD starts smbd, and keeps it and its cell until close. With an error the cell is the caller's still.
func startSMBD(c *cell, at *net.TCPAddr, guests bool, log *slog.Logger) (*smbd, error) {
	for name, data := range map[string][]byte{
		confPath: globalConf(at, guests), "/etc/nsswitch.conf": []byte(nsswitchConf), "/etc/passwd": passwdConf(nil), "/etc/group": groupConf(nil),
		sambaDir + "/private/smbpasswd": nil,
	} {
		if err := c.write(name, data); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &smbd{cell: c, at: at, log: log, stop: stop, done: make(chan struct{}), ready: make(chan struct{}), lastUID: firstUID}
	d.ledger.init(d.rewrite)
	go func() {
		defer close(d.done)
		d.run(ctx)
	}()
	return d, nil
}

// run starts smbd, again and again, until ctx ends.
func (d *smbd) run(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := time.Now()
		err := d.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		d.log.Error("smbd ended and is started again", slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// once runs one smbd. In a process namespace of its own all that it starts ends with it.
func (d *smbd) once(ctx context.Context) error {
	path, err := program("smbd")
	if err != nil {
		d.set(false, err)
		return err
	}
	cmd := exec.Command(path, "--foreground", "--no-process-group", "--debug-stdout", "-s", confPath) //nolint:gosec,noctx // a path of ours; it is told to stop first
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out := &tail{log: d.log}
	cmd.Stdout, cmd.Stderr = out, out
	if err := d.cell.start(cmd); err != nil {
		err = fmt.Errorf("smbd can't be started: %w", err)
		d.set(false, err)
		return err
	}
	var how error
	ended := make(chan struct{})
	go func() {
		how = cmd.Wait()
		close(ended)
	}()
	listening, cancel := context.WithTimeoutCause(ctx, startWait, errors.New("it did not listen in time"))
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- d.listens(listening) }()
	for {
		select {
		case <-ended:
			err := fmt.Errorf("smbd ended (%w): %s", cmp.Or(how, errEnded), out.text())
			d.set(false, err)
			return err
		case err := <-waited:
			waited = nil
			if err != nil && ctx.Err() == nil {
				d.set(false, err)
				_ = cmd.Process.Kill()
				continue
			}
			d.set(err == nil, err)
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(stopWait):
				_ = cmd.Process.Kill()
				<-ended
			}
			return nil
		}
	}
}

var errEnded = errors.New("without an error")

// listens returns when smbd does.
func (d *smbd) listens(ctx context.Context) error {
	at := *d.at
	if at.IP == nil || at.IP.IsUnspecified() {
		at.IP = net.IPv4(127, 0, 0, 1)
	}
	var dialer net.Dialer
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := dialer.DialContext(ctx, "tcp", at.String())
		if err == nil {
			self := c.LocalAddr().String() == c.RemoteAddr().String() // TCP may connect a free port with itself
			if err := c.Close(); err != nil || !self {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("smbd: %w", context.Cause(ctx))
		}
	}
}

// set notes whether smbd listens.
func (d *smbd) set(up bool, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case up && !d.up:
		close(d.ready)
	case !up && d.up:
		d.ready = make(chan struct{})
	}
	d.up, d.last = up, why
}

// wait waits until smbd listens.
func (d *smbd) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	d.mu.Lock()
	ready := d.ready
	d.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		return errors.Join(context.Cause(ctx), d.last)
	}
}

// close implements server.
func (d *smbd) close(context.Context) error {
	d.stop()
	<-d.done
	d.cell.close()
	return nil
}

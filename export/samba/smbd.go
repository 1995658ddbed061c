package samba

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"strings"
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
	cell *cell
	at   *net.TCPAddr
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{} // closed when it has ended for good

	applying sync.Mutex // one change of its files at a time

	mu      sync.Mutex
	shares  map[string]share
	pending map[string]bool // shares that are to come to smbd's registry, or to go from it
	ready   chan struct{}   // closed when it listens; made anew when it dies
	version uint64          // grows with each change of shares
	applied uint64          // the version that smbd's files have
	up      bool
	last    error // why it isn't up
}

// startSMBD starts smbd, and keeps it alive until close. The caller keeps the cell for as long.
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
	d := &smbd{
		cell: c, at: at, log: log, stop: stop, done: make(chan struct{}), shares: map[string]share{}, pending: map[string]bool{},
		ready: make(chan struct{}),
	}
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

// put makes a share, or replaces its user's password. It stands when nil is returned. Several at once cost little more than one.
func (d *smbd) put(ctx context.Context, s share) error {
	// First smbd, which makes its registry as it starts, and must not be disturbed.
	if err := d.wait(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	old, there := d.shares[s.name]
	d.shares[s.name] = s
	if !there || old.readonly != s.readonly || old.guests != s.guests {
		d.pending[s.name] = true
	}
	d.version++
	version := d.version
	d.mu.Unlock()
	return d.apply(ctx, version)
}

// drop removes a share and its user, and closes it for those who use it.
func (d *smbd) drop(ctx context.Context, name string) error {
	d.mu.Lock()
	delete(d.shares, name)
	d.pending[name] = true
	d.version++
	version := d.version
	d.mu.Unlock()
	if err := d.apply(ctx, version); err != nil {
		return err
	}
	d.mu.Lock()
	up := d.up
	d.mu.Unlock()
	if !up {
		return nil // nobody is in
	}
	if out, err := d.tool(ctx, "smbcontrol", "-s", confPath, "smbd", "close-share", name); err != nil {
		return fmt.Errorf("share not closed: %w: %s", err, out)
	}
	return nil
}

// apply makes smbd's files what its shares are, unless another call did so for this version: one call does it for all
// that waited.
func (d *smbd) apply(ctx context.Context, version uint64) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.mu.Lock()
	if d.applied >= version {
		d.mu.Unlock()
		return nil
	}
	version = d.version
	var all, come []share
	var gone []string
	for _, s := range d.shares {
		all = append(all, s)
	}
	for name := range d.pending {
		if s, there := d.shares[name]; there {
			come = append(come, s)
		} else {
			gone = append(gone, name)
		}
	}
	clear(d.pending)
	d.mu.Unlock()
	err := d.change(ctx, all, come, gone)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.applied = version
	} else {
		for _, s := range come {
			d.pending[s.name] = true
		}
		for _, name := range gone {
			d.pending[name] = true
		}
	}
	return err
}

// change makes smbd's users what all has, and changes the registry.
func (d *smbd) change(ctx context.Context, all, come []share, gone []string) error {
	slices.SortFunc(all, func(a, b share) int { return cmp.Compare(a.uid, b.uid) })
	for _, f := range []struct {
		path string
		data []byte
	}{
		{"/etc/group", groupConf(all)},
		{"/etc/passwd", passwdConf(all)},
		{sambaDir + "/private/smbpasswd", smbpasswdConf(all)},
		{changePath, registryConf(come, gone)},
	} {
		if err := d.cell.write(f.path, f.data); err != nil {
			return err
		}
	}
	if len(come)+len(gone) == 0 {
		return nil
	}
	out, err := d.tool(ctx, "net", "-s", confPath, "registry", "import", changePath)
	if err != nil {
		return fmt.Errorf("shares not changed: %w: %s", err, out)
	}
	return nil
}

// tool runs a program of Samba's in the cell, and returns what it said.
func (d *smbd) tool(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolWait)
	defer cancel()
	path, err := program(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // none of it is from outside
	out := &tail{log: slog.New(slog.DiscardHandler)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	if err := d.cell.start(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.text(), err
}

// close ends smbd.
func (d *smbd) close() {
	d.stop()
	<-d.done
}

// maxTail is how much is kept of what a program said, in bytes.
const maxTail = 2 << 10

// tail keeps the end of what a program writes, and logs its lines.
type tail struct {
	log *slog.Logger

	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	for lines := bufio.NewScanner(bytes.NewReader(p)); lines.Scan(); {
		t.log.Debug("smbd says", slog.String("line", lines.Text()))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}

var _ io.Writer = (*tail)(nil)

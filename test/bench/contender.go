package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a server may take to be ready.
const patience = 30 * time.Second

// contender is a server that serves an image, in a process of its own.
type contender struct {
	name string
	url  string // as qemu-img takes it
	cmd  *exec.Cmd
	said bytes.Buffer // on its standard error
}

// launch starts a server. Should this process end before it is stopped, it ends too.
func launch(name string, cmd *exec.Cmd) (*contender, error) {
	c := &contender{name: name, cmd: cmd}
	cmd.Stderr = &c.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// stop ends the server at once: tgtd does not mind SIGTERM.
func (c *contender) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// cpu is the processor time that a process has used, by its clock; clock_getcpuclockid(3) says how that is named.
func (c *contender) cpu() (time.Duration, error) {
	var t unix.Timespec
	const scheduler = 2
	err := unix.ClockGettime(int32(^c.cmd.Process.Pid<<3|scheduler), &t)
	return time.Duration(t.Nano()), err
}

// ready waits until the server takes connections.
func (c *contender) ready(ctx context.Context, network, address string) error {
	for began := time.Now(); ; {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil || time.Since(began) > patience {
			c.stop()
			return fmt.Errorf("%s is not ready: %w: %s", c.name, err, c.said.String())
		}
		<-time.After(5 * time.Millisecond)
	}
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startPortal starts our target on the volumes below root. Its url lacks the target and the LUN.
func startPortal(ctx context.Context, root string) (*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, portalCommand, "-root", root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c, err := launch("elstore", cmd)
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("our target said %q: %w: %s", line, err, c.said.String())
	}
	c.url = "iscsi://" + strings.TrimSpace(line)
	return c, nil
}

// startTgt starts a tgtd of our own: with its own socket for tgtadm, and without the system's services. store says how the image is
// to be reached.
func startTgt(ctx context.Context, dir, image, store string) (_ *contender, err error) {
	const name = "iqn.2004-10.cloud.elemento:bench"
	const control = "1" // no port, but the end of the socket's name
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "TGT_IPC_SOCKET="+filepath.Join(dir, "tgtd"))
	cmd := exec.Command("tgtd", "--foreground", "--control-port", control, "--iscsi", "portal="+address)
	cmd.Env = env
	c, err := launch("tgt", cmd)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if err := c.ready(ctx, "tcp", address); err != nil {
		return nil, err
	}
	for _, args := range []string{
		"--op new --mode target --tid 1 --targetname " + name,
		"--op new --mode logicalunit --tid 1 --lun 1 " + store + " --backing-store " + image,
		"--op bind --mode target --tid 1 --initiator-address ALL",
	} {
		adm := exec.CommandContext(ctx, "tgtadm", append([]string{"--control-port", control, "--lld", "iscsi"}, strings.Fields(args)...)...)
		adm.Env = env
		if out, err := adm.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("tgtadm %s: %w: %s", args, err, out)
		}
	}
	c.url = "iscsi://" + address + "/" + name + "/1"
	return c, nil
}

// startNBDKit starts nbdkit's file plugin on TCP.
func startNBDKit(ctx context.Context, image string) (*contender, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(address, ":")
	c, err := launch("nbdkit", exec.Command("nbdkit", "--foreground", "--exit-with-parent", "--ipaddr", host, "--port", port, "file", image))
	if err != nil {
		return nil, err
	}
	c.url = "nbd://" + address
	if err := c.ready(ctx, "tcp", address); err != nil {
		return nil, err
	}
	return c, nil
}

// startStorageDaemon starts QEMU's NBD server on a Unix socket. It takes no lock of the image, which others serve too.
func startStorageDaemon(ctx context.Context, dir, format, image string) (*contender, error) {
	socket := filepath.Join(dir, "qsd-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	c, err := launch("qemu-storage-daemon", exec.Command("qemu-storage-daemon",
		"--blockdev", "driver=file,node-name=file,locking=off,filename="+image,
		"--blockdev", "driver="+format+",node-name=disk,file=file",
		"--nbd-server", "addr.type=unix,addr.path="+socket,
		"--export", "type=nbd,id=export,node-name=disk,name=disk,writable=on"))
	if err != nil {
		return nil, err
	}
	c.url = "nbd+unix:///disk?socket=" + socket
	if err := c.ready(ctx, "unix", socket); err != nil {
		return nil, err
	}
	return c, nil
}

// peak returns the most memory that a process had at any time, in bytes.
func peak(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM of process %d", pid)
}

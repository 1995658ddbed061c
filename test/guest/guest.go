package guest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"elstore/test/need"
)

const (
	ports    = 3                // scripts that may run at once
	patience = 10 * time.Minute // for a boot, and for a script, however busy the host is
)

// kernelArguments are the kernel's, without what init is told.
const kernelArguments = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check clocksource=hpet"

// Guest is a running machine.
type Guest struct {
	name   string
	qemu   *exec.Cmd
	exited chan struct{}
	idle   chan *port // the ports without a script

	mu      sync.Mutex
	console bytes.Buffer
}

// Boot starts a machine with an iSCSI initiator of this name, and whatever else the arguments tell QEMU to give it. It takes scripts at
// once, and runs them when it is up. It is ended, as by a power cut, with the test.
func Boot(t testing.TB, initiator string, more ...string) *Guest {
	t.Helper()
	Need(t)
	img, err := imageOnce()
	if err != nil {
		t.Fatal(err)
	}
	options := append([]string{"-kernel", img.kernel, "-initrd", img.initrd, "-append", kernelArguments + " guest.initiator=" + initiator}, more...)
	return boot(t, initiator, options...)
}

// BootDisk starts a machine whose firmware reads its boot sector, and so all that it runs, from the disk that QEMU's
// options define: it has to hold what Disk has. The rest is as for Boot.
func BootDisk(t testing.TB, name string, disk ...string) *Guest {
	t.Helper()
	Need(t)
	return boot(t, name, disk...)
}

// boot starts a machine. options say what it is booted from.
func boot(t testing.TB, name string, options ...string) *Guest {
	t.Helper()
	dir, err := os.MkdirTemp("", "guest-") //nolint:usetesting // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &Guest{name: name, exited: make(chan struct{}), idle: make(chan *port, ports)}
	var listeners []net.Listener
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-m", "384", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-serial-pci",
	}
	args = append(args, options...)
	for i := range ports {
		p, err := listen(filepath.Join(dir, "port"+strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, p.listener)
		g.idle <- p
		args = append(args, "-chardev", fmt.Sprintf("socket,id=port%d,path=%s", i, p.path),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d", i))
	}
	g.qemu = exec.Command("qemu-system-x86_64", args...)
	g.qemu.Stdout, g.qemu.Stderr = g, g
	if err := g.start(listeners); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.end)
	return g
}

// Need needs what guests are made of.
func Need(t testing.TB) {
	t.Helper()
	need.Program(t, "qemu-system-x86_64", "dpkg-deb", "xz", "syslinux", "mformat", "mcopy")
	need.File(t, bootSector, "Debian's package syslinux-common has it")
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range packages {
		need.File(t, filepath.Join(cache, "packages", name+"_*.deb"), ".ci/setup test downloads it")
	}
}

// start starts QEMU from a thread that lives as long: it dies with the test program, however that ends. Nobody waits
// for a guest at the listeners whose QEMU has ended.
func (g *Guest) start(listeners []net.Listener) error {
	g.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := g.qemu.Start()
		started <- err
		if err == nil {
			_ = g.qemu.Wait()
		}
		for _, l := range listeners {
			_ = l.Close()
		}
		close(g.exited)
	}()
	return <-started
}

// end cuts the power. Scripts that still run fail.
func (g *Guest) end() {
	_ = g.qemu.Process.Kill()
	<-g.exited
	for range ports {
		(<-g.idle).close()
	}
}

// Off cuts the power now.
func (g *Guest) Off() {
	_ = g.qemu.Process.Kill()
	<-g.exited
}

// Exited is closed when the machine is off.
func (g *Guest) Exited() <-chan struct{} { return g.exited }

// Write takes in what the console says.
func (g *Guest) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.console.Write(p)
}

// Console returns what the kernel and init wrote on the console.
func (g *Guest) Console() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.console.String()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// many is how many volumes both have.
const many = 10_000

// libvirt compares refreshing and listing a pool with libvirt's directory pool, both asked over their own wire: ours by its
// API, libvirt by virsh.
func libvirt(ctx context.Context, env environment) (rows []row, err error) {
	peer, err := startLibvirt(ctx, env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	root := filepath.Join(env.dir, "root")
	if _, err := furnish(root, 0); err != nil {
		return nil, err
	}
	meta := `{"creatorID":"` + owner + `","name":"v","format":"raw","size":1000000000}`
	for i := range many {
		if err := furnishOne(filepath.Join(root, "pool0", fmt.Sprintf("vid.%032x.elimg", i)), meta); err != nil {
			return nil, err
		}
	}
	s, err := startServer(ctx, env, root)
	if err != nil {
		return nil, err
	}
	defer s.stop()

	var ours, theirs [2][]time.Duration // refresh, list
	for range 5 {
		_, refresh, err := s.post(ctx, "/pools/refresh", map[string]any{"name": "pool0"})
		if err != nil {
			return nil, err
		}
		answer, list, err := s.post(ctx, "/accessible", map[string]any{"client_uid": owner})
		if err != nil {
			return nil, err
		}
		if n := strings.Count(string(answer), `"volumeID"`); n != many {
			return nil, fmt.Errorf("we list %d of %d volumes", n, many)
		}
		ours[0], ours[1] = append(ours[0], refresh), append(ours[1], list)
		if refresh, _, err = peer.virsh(ctx, "pool-refresh", "bench"); err != nil {
			return nil, err
		}
		list, out, err := peer.virsh(ctx, "vol-list", "bench")
		if err != nil {
			return nil, err
		}
		if n := strings.Count(out, ".img "); n < many {
			return nil, fmt.Errorf("libvirt lists %d of %d volumes", n, many)
		}
		theirs[0], theirs[1] = append(theirs[0], refresh), append(theirs[1], list)
	}
	for i, what := range []string{"refresh", "list"} {
		a, b := quantile(ours[i], 0.5), quantile(theirs[i], 0.5)
		ratio := float64(b) / float64(a)
		rows = append(rows, row{
			what: fmt.Sprintf("%d volumes: %s, median of 5; peer: libvirt's directory pool", many, what),
			ours: a.Round(time.Microsecond).String(), peer: b.Round(time.Millisecond).String(),
			ratio: fmt.Sprintf("%.0f", ratio), goal: ">= 50", missed: ratio < 50,
		})
	}
	return rows, nil
}

// libvirtd is a daemon of our own, in its own directory, run as nobody: its session mode needs no system services.
type libvirtd struct {
	cmd  *exec.Cmd
	home string
	cred *syscall.Credential
}

func startLibvirt(ctx context.Context, env environment) (_ *libvirtd, err error) {
	d := &libvirtd{home: filepath.Join(env.dir, "libvirt")}
	if err := os.Chmod(env.dir, 0o755); err != nil {
		return nil, err
	}
	target := filepath.Join(d.home, "pool")
	for _, dir := range []string{d.home, target} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for i := range many {
		f, err := os.Create(filepath.Join(target, fmt.Sprintf("v%d.img", i)))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(f.Truncate(1_000_000_000), f.Close()); err != nil {
			return nil, err
		}
	}
	conf := filepath.Join(d.home, "libvirtd.conf")
	text := fmt.Sprintf("unix_sock_dir = %q\nauth_unix_rw = \"none\"\n", d.home)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := d.becomeNobody(); err != nil {
		return nil, err
	}
	d.cmd = d.command(context.WithoutCancel(ctx), "libvirtd", "--config", conf, "--pid-file", filepath.Join(d.home, "pid"))
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	for began := time.Now(); ; {
		if _, _, err = d.virsh(ctx, "uri"); err == nil {
			break
		}
		if time.Since(began) > 30*time.Second || ctx.Err() != nil {
			return nil, err
		}
		<-time.After(50 * time.Millisecond)
	}
	if _, _, err = d.virsh(ctx, "pool-define-as", "bench", "dir", "--target", target); err != nil {
		return nil, err
	}
	_, _, err = d.virsh(ctx, "pool-start", "bench")
	return d, err
}

// becomeNobody gives up root for libvirtd, whose system mode would want much more of the machine.
func (d *libvirtd) becomeNobody() error {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return err
	}
	d.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{}}
	return filepath.WalkDir(d.home, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(uid), int(gid)))
	})
}

func (d *libvirtd) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = d.home
	cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin", "HOME=" + d.home, "XDG_RUNTIME_DIR=" + d.home, "LC_ALL=C"})
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.cred}
	return cmd
}

// virsh runs one command and returns how long the process took, and what it printed.
func (d *libvirtd) virsh(ctx context.Context, args ...string) (time.Duration, string, error) {
	cmd := d.command(ctx, "virsh", append([]string{"-c", "qemu:///session?socket=" + filepath.Join(d.home, "libvirt-sock")}, args...)...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		return 0, "", fmt.Errorf("virsh %q: %w: %s", args, err, out)
	}
	return took, string(out), nil
}

func (d *libvirtd) stop() error {
	if d.cmd == nil || d.cmd.Process == nil {
		return nil
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
	return nil
}

package need

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fsSize is the size in bytes of the file systems that FS makes. mkfs.xfs wants 300 MiB at least.
const fsSize = 1 << 30

// mkfs is how each kind of file system is made, before the name of the file it is made in.
var mkfs = map[string][]string{
	"xfs":   {"mkfs.xfs", "-q", "-m", "reflink=1"},
	"btrfs": {"mkfs.btrfs", "-q"},
	"ext4":  {"mkfs.ext4", "-q", "-F", "-E", "nodiscard"},
}

// FS makes an empty file system of the kind, xfs (with reflink), btrfs or ext4, of 1 GiB in a sparse file, and
// returns the directory it is mounted on. It is unmounted, and its loop device detached, when the test ends. The file
// lies in memory, so that a flush of the file system waits for no disk. It needs Root, the kind's mkfs and a kernel
// that can mount it.
func FS(t testing.TB, kind string) string {
	t.Helper()
	command, ok := mkfs[kind]
	if !ok {
		t.Fatalf("there is no way to make the file system %q", kind)
	}
	Root(t)
	Program(t, command[0], "mount", "umount")

	mountpoint := filepath.Join(memory(t), kind)
	image := imageOf(mountpoint)
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, fsSize); err != nil {
		t.Fatal(err)
	}
	if err := run(append(command, image)...); err != nil {
		t.Fatal(err)
	}
	mount(t, kind, mountpoint, "loop,discard")
	return mountpoint
}

// Disk returns an empty directory for tests that sync so often that a busy disk would take most of their time: on an ext4
// of FS's, or where that can't be made for want of Root, t.TempDir().
func Disk(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return t.TempDir()
	}
	dir := filepath.Join(FS(t, "ext4"), "disk") // without a lost+found in it
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Tmpfs makes an empty file system in memory, of so many bytes, and returns the directory it is mounted on until the test ends. It
// needs Root. For a disk that is soon full.
func Tmpfs(t testing.TB, size int64) string {
	t.Helper()
	mountpoint := tmpfs(t, size)
	t.Cleanup(func() { unmount(t, mountpoint) })
	return mountpoint
}

// memory is Tmpfs for the file under a loop device: whoever looked at the device, as udev does, may have it open for a moment
// longer than the file system was mounted, and the memory goes with the last of them.
func memory(t testing.TB) string {
	t.Helper()
	mountpoint := tmpfs(t, 2*fsSize)
	t.Cleanup(func() {
		if err := run("umount", "--lazy", mountpoint); err != nil {
			t.Error(err)
		}
	})
	return mountpoint
}

// tmpfs mounts memory, of so many bytes at the most, on a new directory, and leaves it to the caller to unmount it.
func tmpfs(t testing.TB, size int64) string {
	t.Helper()
	Root(t)
	Program(t, "mount", "umount")
	mountpoint := filepath.Join(t.TempDir(), "tmpfs")
	if err := os.Mkdir(mountpoint, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size), "tmpfs", mountpoint); err != nil {
		lacking(t, fmt.Sprintf("a machine that can mount tmpfs: %v", err))
	}
	return mountpoint
}

// PowerCut mounts a copy of the device under a file system that FS made, xfs or ext4, as it is at this moment,
// and returns the copy's directory: what a power cut would leave, after the journal's replay. What was written
// and not synced is in memory alone, and so not in it. Nobody may write to the file system meanwhile.
func PowerCut(t testing.TB, mountpoint string) string {
	t.Helper()
	kind := filepath.Base(mountpoint)
	options := map[string]string{"xfs": "loop,nouuid", "ext4": "loop"}[kind]
	if options == "" {
		t.Fatalf("%s can't be mounted twice, as a copy of it would be", kind)
	}
	after := filepath.Join(memory(t), kind)
	if err := run("cp", "--sparse=always", imageOf(mountpoint), imageOf(after)); err != nil {
		t.Fatal(err)
	}
	mount(t, kind, after, options)
	return after
}

// imageOf names the file that holds the file system mounted on mountpoint.
func imageOf(mountpoint string) string { return mountpoint + ".img" }

// mount mounts a mountpoint's image on it, until the test ends.
func mount(t testing.TB, kind, mountpoint, options string) {
	t.Helper()
	if err := os.Mkdir(mountpoint, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run("mount", "-t", kind, "-o", options, imageOf(mountpoint), mountpoint); err != nil {
		lacking(t, fmt.Sprintf("a machine that can mount %s on a loop device: %v", kind, err))
	}
	t.Cleanup(func() { unmount(t, mountpoint) })
}

// unmount also detaches the loop device, which mount -o loop marked to go with its last user. What is still
// in use fails the test and is taken out of the way all the same.
func unmount(t testing.TB, mountpoint string) {
	t.Helper()
	if err := run("umount", mountpoint); err != nil {
		t.Error(err)
		if err := run("umount", "--lazy", mountpoint); err != nil {
			t.Error(err)
		}
	}
}

// run runs a command that ends soon. Its error says what the command said. It does not end with the test's
// context, which is over when the test cleans up.
func run(command ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

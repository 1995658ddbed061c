package pool

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"elstore/test/need"
	"elstore/volume/fault"
)

func openDir(t *testing.T, dir string) *storage {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s, err := openStorage(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func command(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", words, err, out)
	}
}

func TestStorage(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(kind, func(t *testing.T) {
			s := openDir(t, need.FS(t, kind))
			r, err := s.ask()
			if err != nil || s.kind != kind || s.remote() || r.readOnly || r.free < 1<<27 || r.free > 1<<30 {
				t.Errorf("kind %s, remote %t, %+v, %v", s.kind, s.remote(), r, err)
			}
			s.close() // before it is unmounted
		})
	}
}

func TestSubvolumesShareTheirRoom(t *testing.T) {
	need.Program(t, "btrfs")
	dir := need.FS(t, "btrfs")
	command(t, "btrfs", "subvolume", "create", filepath.Join(dir, "a"))
	command(t, "btrfs", "subvolume", "create", filepath.Join(dir, "b"))
	a, b, here := openDir(t, filepath.Join(dir, "a")), openDir(t, filepath.Join(dir, "b")), openDir(t, t.TempDir())
	if a.device != b.device || a.device == here.device || !strings.HasPrefix(a.device, "/dev/") {
		t.Errorf("the devices are %q, %q and %q", a.device, b.device, here.device)
	}
	a.close()
	b.close()
}

func TestMountSource(t *testing.T) {
	const mounts = `21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:5 / /dev rw - devtmpfs devtmpfs rw,size=4k
220 21 0:40 /a /mnt/a rw master:1 shared:2 - btrfs /dev/loop0 rw,subvol=/a
33 21 0:41 / /tank/x rw - zfs tank/x rw
broken - line
44 no separator
`
	for id, want := range map[uint64]string{21: "/dev/vda", 22: "devtmpfs", 220: "/dev/loop0", 33: "tank/x", 2: "", 44: "", 1: ""} {
		if got := mountSource(mounts, id); got != want {
			t.Errorf("mount %d is of %q, want %q", id, got, want)
		}
	}
}

func TestARemoteFileSystem(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openDir(t, dir)
		s.kind = "nfs"
		if r, err := s.ask(); err != nil || r.free <= 0 {
			t.Errorf("%+v, %v", r, err)
		}
		s.turn <- struct{}{} // a question that is not answered
		if _, err := s.ask(); !fault.Is(err, fault.PoolUnavailable) || !strings.Contains(err.Error(), "doesn't answer") {
			t.Errorf("after a question that is open: %v", err)
		}
		<-s.turn
		if _, err := s.ask(); err != nil {
			t.Errorf("after it was answered: %v", err)
		}
		s.stuck.Store(true)
		if _, err := s.ask(); !fault.Is(err, fault.PoolUnavailable) {
			t.Errorf("of one that owes an answer: %v", err)
		}
	})
	for kind, want := range map[string]bool{"nfs": true, "cifs": true, "fuse": true, "ceph": true, "0x1234": true, "ext4": false, "tmpfs": false} {
		if got := (&storage{kind: kind}).remote(); got != want {
			t.Errorf("%s is remote: %t", kind, got)
		}
	}
}

func TestStorageThatIsClosed(t *testing.T) {
	s := openDir(t, t.TempDir())
	s.close()
	if _, err := s.ask(); err == nil {
		t.Error("a closed one has room")
	}
}

func TestAFileSystemThatBecomesReadOnly(t *testing.T) {
	root := need.FS(t, "ext4")
	put(t, root, "a/"+SettingsFile, "{}")
	w := open(t, root, nil)
	w.run()
	w.wantPool("a", "")
	if got := w.info("a").FileSystem; got != "ext4" {
		t.Errorf("file system %s", got)
	}
	command(t, "mount", "-o", "remount,ro", root)
	w.until(func() bool { return !w.valid("a") })
	w.wantPool("a", "its file system is read-only")
	if _, ok := w.Get("a"); !ok {
		t.Error("the volumes of a pool that can't be written are gone")
	}
	if _, err := w.reserve("a", gb); !fault.Is(err, fault.PoolUnavailable) {
		t.Errorf("room where nothing can be written: %v", err)
	}
	command(t, "mount", "-o", "remount,rw", root)
	w.until(func() bool { return w.valid("a") })
	command(t, "mount", "-o", "remount,ro", root)
	w.until(func() bool { return !w.valid("a") })
	second := open(t, root, nil, as("second"))
	second.wantPool("a", "read-only")
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestAFileSystemThatRefusesWritesAndDoesNotSay(t *testing.T) {
	need.Program(t, "chattr")
	root := need.FS(t, "ext4")
	put(t, root, "a/"+SettingsFile, "{}")
	w := open(t, root, nil)
	w.run()
	command(t, "chattr", "+i", filepath.Join(root, "a", LockFile))
	w.rescan()
	w.wantPool("a", "") // nothing failed yet
	w.get("a").Unwell(os.ErrPermission)
	w.until(func() bool { return !w.valid("a") })
	w.wantPool("a", "it can't be written: operation not permitted")
	w.rescan()
	w.wantPool("a", "it can't be written")
	command(t, "chattr", "-i", filepath.Join(root, "a", LockFile))
	w.rescan()
	w.wantPool("a", "")
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestMountsAreSeen(t *testing.T) {
	fs := need.FS(t, "ext4")
	put(t, fs, SettingsFile, "{}")
	root := tree(t, map[string]string{"a/": ""})
	w := open(t, root, nil)
	w.run()
	a := filepath.Join(root, "a")
	command(t, "mount", "--bind", fs, a)
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = exec.Command("umount", "--lazy", a).Run()
		}
	})
	w.until(func() bool { return w.valid("a") })
	command(t, "umount", "--lazy", a)
	mounted = false
	w.await("detach a")
	w.until(func() bool { return len(w.Infos()) == 0 })
}

func TestOneDirectoryMountedTwice(t *testing.T) {
	need.Root(t)
	need.Program(t, "mount", "umount")
	root := tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/": ""})
	b := filepath.Join(root, "b")
	command(t, "mount", "--bind", filepath.Join(root, "a"), b)
	t.Cleanup(func() { _ = exec.Command("umount", "--lazy", b).Run() })
	w := open(t, root, nil)
	w.wantPool("a", "")
	if n := w.NotPools(); len(n) != 1 || n[0].Path != b || !strings.Contains(n[0].Reason, "is the same directory as") {
		t.Errorf("not pools: %+v", n)
	}
}

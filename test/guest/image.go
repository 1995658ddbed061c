package guest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// packages are downloaded by .ci/setup, which has the same list, with the shared libraries that they need.
var packages = []string{"busybox-static", "open-iscsi", "e2fsprogs", "sg3-utils", "linux-image-amd64"}

// modules of the kernel that the guest loads.
var modules = []string{
	"virtio_pci", "virtio_net", "virtio_console", "crc32c_generic", "iscsi_tcp", "sd_mod", "sg", "ext4",
}

// programs beside busybox. Of two with the same name its shell takes busybox's own.
var programs = []string{
	"sbin/iscsid", "sbin/iscsiadm", "sbin/mkfs.ext4", "sbin/e2fsck", "sbin/resize2fs", "usr/bin/sg_persist",
	"usr/bin/sg_inq", "usr/bin/sg_readcap", "usr/bin/sg_unmap", "usr/bin/sg_raw",
}

//go:embed init.sh
var initScript []byte

// image is what a guest is booted from.
type image struct{ kernel, initrd string } // paths

// imageOnce makes the image once in a test program.
var imageOnce = sync.OnceValues(func() (image, error) {
	dir, err := cacheDir()
	if err != nil {
		return image{}, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "packages", "*.deb"))
	if err != nil {
		return image{}, err
	}
	return cached(dir, debs)
})

// cacheDir is where packages and images are kept between tests, as setup knows it.
func cacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "elstore", "guest"), err
}

// cached returns the image of packages that is in a directory, and makes it there first if it isn't.
func cached(dir string, debs []string) (image, error) {
	key, err := keyOf(debs)
	if err != nil {
		return image{}, err
	}
	place := filepath.Join(dir, "image-"+key)
	made := image{kernel: filepath.Join(place, "kernel"), initrd: filepath.Join(place, "initrd")}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return image{}, err
	}
	defer lock.Close() // which unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return image{}, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(place); err == nil {
		return made, nil
	}
	temp, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		return image{}, err
	}
	defer os.RemoveAll(temp)
	half := filepath.Join(temp, "image")
	if err := os.Mkdir(half, 0o755); err != nil {
		return image{}, err
	}
	if err := makeImage(filepath.Join(temp, "root"), debs, half); err != nil {
		return image{}, fmt.Errorf("make the guest's image: %w", err)
	}
	return made, os.Rename(half, place)
}

// keyOf is a sum over all that an image is made from but this package's code, which has its version in it.
func keyOf(debs []string) (string, error) {
	const version = 2 // of the code: count it up where the same input makes another image
	sum := sha256.New()
	fmt.Fprintln(sum, version, modules, programs, len(initScript))
	sum.Write(initScript)
	for _, deb := range debs {
		f, err := os.Open(deb)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// makeImage unpacks the packages into root, and puts the kernel and the initial file system into dir.
func makeImage(root string, debs []string, dir string) error {
	for _, deb := range debs {
		if err := run("dpkg-deb", "--extract", deb, root); err != nil {
			return err
		}
	}
	kernel, err := one(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	if err := unpackKernel(kernel, filepath.Join(dir, "kernel")); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "initrd"))
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	if err := pack(root, zip); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return f.Close()
}

// pack writes the initial file system.
func pack(root string, w io.Writer) error {
	out := &archive{w: w}
	for _, dir := range []string{
		"bin", "sbin", "usr", "usr/bin", "usr/sbin", "lib", "lib64", "lib/x86_64-linux-gnu", "lib/modules", "etc", "etc/iscsi",
		"var", "var/lib", "var/lib/iscsi", "proc", "sys", "dev", "run", "tmp", "mnt",
	} {
		out.directory(dir)
	}
	out.file("init", 0o755, initScript)
	out.link("var/lock", "/run/lock")
	out.link("etc/mtab", "/proc/mounts")
	out.file("etc/passwd", 0o644, []byte("root:x:0:0::/:/bin/sh\n")) // iscsid asks who root is
	out.file("etc/iscsi/iscsid.conf", 0o600, []byte("node.startup = manual\n"))
	if err := packBusybox(root, out); err != nil {
		return err
	}
	if err := packPrograms(root, out); err != nil {
		return err
	}
	if err := packModules(root, out); err != nil {
		return err
	}
	return out.close()
}

// packBusybox adds busybox with a link for each of its programs.
func packBusybox(root string, out *archive) error {
	busybox, err := one(filepath.Join(root, "bin", "busybox"))
	if err != nil {
		return err
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	out.file("bin/busybox", 0o755, data)
	list, err := output(busybox, "--list")
	if err != nil {
		return err
	}
	for name := range bytes.FieldsSeq(list) {
		if string(name) != "busybox" {
			out.link("bin/"+string(name), "busybox")
		}
	}
	return nil
}

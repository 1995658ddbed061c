package guest

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"os"
	"path/filepath"
)

// packages are downloaded by .ci/setup, which has the same list, with the shared libraries that they need.
var packages = []string{"busybox-static", "open-iscsi", "e2fsprogs", "sg3-utils", "linux-image-amd64"}

// modules of the kernel that the guest loads.
var modules = []string{
	"virtio_pci", "virtio_net", "virtio_console", "crc32c_generic", "virtio_blk", "virtio_scsi", "iscsi_tcp", "sd_mod", "sr_mod", "sg", "ext4", "isofs",
}

// programs beside busybox. Of two with the same name its shell takes busybox's own.
var programs = []string{
	"sbin/iscsid", "sbin/iscsiadm", "sbin/mkfs.ext4", "sbin/e2fsck", "sbin/resize2fs", "usr/bin/sg_persist",
	"usr/bin/sg_inq", "usr/bin/sg_readcap", "usr/bin/sg_unmap", "usr/bin/sg_raw",
}

//go:embed init.sh
var initScript []byte

// makeImage unpacks the packages into root, and puts the kernel, the initial file system and the disk into dir.
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
	if err := f.Close(); err != nil {
		return err
	}
	bzImage := filepath.Join(dir, "bzImage")
	if err := run("cp", "--", kernel, bzImage); err != nil {
		return err
	}
	return makeDisk(filepath.Join(dir, "disk"), disk{
		kernel: bzImage, initrd: f.Name(), arguments: kernelArguments, size: DiskSize,
	})
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

package guest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"elstore/test/need"
)

// cloudPackages are what the cloud image has, with all that they and Debian's essential packages depend on. .ci/setup has
// the same list.
var cloudPackages = []string{"systemd-sysv", "udev", "cloud-init", "cloud-guest-utils", "e2fsprogs", "fdisk", "iproute2"}

// CloudSize is how long a cloud image is, in bytes. Its root file system fills it, and grows with the disk at the first boot.
const CloudSize = dataStart*sectorSize + 448<<20

// cloudFiles are what a publisher of images would change of Debian: where cloud-init looks, and a network that it can set up. Units
// that a machine of a minute does not need are masked.
var cloudFiles = map[string]string{
	"etc/cloud/cloud.cfg.d/90_dpkg.cfg": "datasource_list: [ NoCloud, None ]\n",
	// What the image has no packages for.
	"etc/cloud/cloud.cfg.d/91_small.cfg": "locale: false\ngrub_dpkg: {enabled: false}\nssh_genkeytypes: []\napt: {preserve_sources_list: true}\n",
	"etc/fstab":                          "/dev/vda2 / ext4 defaults 0 0\n",
	"etc/hostname":                       "unconfigured\n",
	"etc/machine-id":                     "",
}

var cloudLinks = map[string]string{
	"multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service",
	"apt-daily.timer":             "/dev/null",
	"apt-daily-upgrade.timer":     "/dev/null",
	"dpkg-db-backup.timer":        "/dev/null",
	"e2scrub_all.timer":           "/dev/null",
	"e2scrub_reap.service":        "/dev/null",
	"fstrim.timer":                "/dev/null",
	"getty@tty1.service":          "/dev/null",
	"serial-getty@ttyS0.service":  "/dev/null",
	"systemd-pstore.service":      "/dev/null",
	"systemd-update-utmp.service": "/dev/null",
}

// CloudCPU tells QEMU of a processor that takes less time to emulate: where it has wide vectors, libraries use them.
var CloudCPU = []string{"-cpu", "max,-avx,-avx2,-fma,-f16c"}

// cloudArguments are the kernel's.
const cloudArguments = kernelArguments + " guest.root=/dev/" + DataDisk + " net.ifnames=0 systemd.log_color=no systemd.show_status=no"

// cloudOnce makes the cloud image once in a test program.
var cloudOnce = sync.OnceValues(func() (image, error) {
	boot, err := imageOnce()
	if err != nil {
		return image{}, err
	}
	dir, err := cacheDir()
	if err != nil {
		return image{}, err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "packages-cloud", "*.deb"))
	if err != nil {
		return image{}, err
	}
	r := recipe{
		kind: "cloud", of: append(debs, boot.bzImage, boot.initrd, bootSector), text: fmt.Sprintln(cloudFiles, cloudLinks, cloudArguments, CloudSize),
		make: func(temp, to string) error { return makeCloud(temp, to, boot, debs) },
	}
	place, use, err := r.cached(dir)
	return image{disk: filepath.Join(place, "disk"), use: use}, err
})

// CloudDisk returns the path of a raw image, CloudSize long, as publishers of cloud images have them: a PC boots Debian 12 with systemd and
// cloud-init from it. It is for BootDisk, as virtio's first disk, and not to be written to. Scripts do not run in such a guest.
func CloudDisk(t testing.TB) string {
	t.Helper()
	Need(t)
	need.Root(t)
	need.Program(t, "mmdebstrap", "mkfs.ext4")
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range cloudPackages {
		need.File(t, filepath.Join(cache, "packages-cloud", name+"_*.deb"), ".ci/setup test downloads it")
	}
	img, err := cloudOnce()
	if err != nil {
		t.Fatal(err)
	}
	return img.disk
}

// makeCloud installs the packages in a directory, and makes a disk of it with the kernel and the initial file system of other guests.
func makeCloud(temp, to string, boot image, debs []string) error {
	archive, root := filepath.Join(temp, "archive"), filepath.Join(temp, "root")
	names, err := makeArchive(archive, debs)
	if err != nil {
		return err
	}
	err = run("mmdebstrap", "--mode=root", "--variant=custom", "--format=directory", "--include="+strings.Join(names, ","),
		`--aptopt=APT::Sandbox::User "root"`, "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=force-unsafe-io", "bookworm", root, "deb [trusted=yes] copy://"+archive+" ./")
	if err != nil {
		return err
	}
	for name, content := range cloudFiles {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for name, target := range cloudLinks {
		link := filepath.Join(root, "etc/systemd/system", name)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	path := filepath.Join(to, "disk")
	if err := makeDisk(path, disk{kernel: boot.bzImage, initrd: boot.initrd, arguments: cloudArguments, size: CloudSize}); err != nil {
		return err
	}
	return run("mkfs.ext4", "-q", "-F", "-m", "0", "-d", root, "-E", fmt.Sprintf("offset=%d", dataStart*sectorSize), path,
		fmt.Sprintf("%dk", (CloudSize-dataStart*sectorSize)>>10))
}

// makeArchive makes a directory that apt takes packages from, and returns their names.
func makeArchive(dir string, debs []string) (names []string, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var index strings.Builder
	for _, deb := range debs {
		if err := os.Symlink(deb, filepath.Join(dir, filepath.Base(deb))); err != nil {
			return nil, err
		}
		control, err := output("dpkg-deb", "--field", deb)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(deb)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&index, "%s\nFilename: ./%s\nSize: %d\nSHA256: %x\n\n", strings.TrimSpace(string(control)), filepath.Base(deb), len(data), sha256.Sum256(data))
		name, _, _ := strings.Cut(filepath.Base(deb), "_")
		names = append(names, name)
	}
	return names, os.WriteFile(filepath.Join(dir, "Packages"), []byte(index.String()), 0o644)
}

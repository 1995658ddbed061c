package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"elstore/test/need"
)

// Where Debian's packages have the loaders of a CD, and the firmware for UEFI.
const (
	isolinux    = "/usr/lib/ISOLINUX/isolinux.bin"
	ldlinux     = "/usr/lib/syslinux/modules/bios/ldlinux.c32"
	systemdBoot = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
	ovmf        = "/usr/share/ovmf/OVMF.fd"
)

// UEFI makes BootDisk's machine start by UEFI, instead of the PC's BIOS.
var UEFI = []string{"-bios", ovmf}

// Installer is an ISO image like that of a distribution, made by others' tools: a PC boots the guest's kernel from it, by BIOS or UEFI.
type Installer struct {
	Path  string            // of the image
	Files map[string]string // some files in it, and the paths of their content
	Info  string            // its .disk/info
	Label string
}

// NewInstaller makes one below dir.
func NewInstaller(t testing.TB, dir string) *Installer {
	t.Helper()
	Need(t)
	need.Program(t, "xorriso")
	for file, from := range map[string]string{isolinux: "isolinux", ldlinux: "syslinux-common", systemdBoot: "systemd-boot-efi", ovmf: "ovmf"} {
		need.File(t, file, "Debian's package "+from+" has it")
	}
	boot, err := imageOnce()
	if err != nil {
		t.Fatal(err)
	}
	i := &Installer{
		Path: filepath.Join(dir, "installer.iso"), Info: `Debian GNU/Linux 12.9.0 "Bookworm" - Official amd64 NETINST with firmware 20250111-10:55`, Label: "Debian 12.9.0 amd64 n",
		Files: map[string]string{"install.amd/vmlinuz": boot.bzImage, "install.amd/initrd.gz": boot.initrd},
	}
	if err := i.make(filepath.Join(dir, "tree"), filepath.Join(dir, "efi"), boot); err != nil {
		t.Fatal(err)
	}
	return i
}

// make makes the image of a tree; efi is for what the firmware of UEFI reads.
func (i *Installer) make(tree, efi string, boot image) error {
	config := "DEFAULT install\nLABEL install\n\tKERNEL /install.amd/vmlinuz\n\tAPPEND initrd=/install.amd/initrd.gz " + kernelArguments + " guest.firmware=bios\n"
	entry := "title Install\nlinux /linux\ninitrd /initrd\noptions " + kernelArguments + " guest.firmware=uefi\n"
	for name, content := range map[string]string{
		filepath.Join(tree, ".disk/info"):             i.Info + "\n",
		filepath.Join(tree, "isolinux/isolinux.cfg"):  config,
		filepath.Join(efi, "loader/loader.conf"):      "timeout 0\n",
		filepath.Join(efi, "loader/entries/one.conf"): entry,
	} {
		if err := put(name, []byte(content)); err != nil {
			return err
		}
	}
	for name, from := range map[string]string{
		filepath.Join(tree, "isolinux/isolinux.bin"): isolinux,
		filepath.Join(tree, "isolinux/ldlinux.c32"):  ldlinux,
		filepath.Join(tree, "install.amd/vmlinuz"):   boot.bzImage,
		filepath.Join(tree, "install.amd/initrd.gz"): boot.initrd,
		filepath.Join(efi, "EFI/BOOT/BOOTX64.EFI"):   systemdBoot,
		filepath.Join(efi, "linux"):                  boot.bzImage,
		filepath.Join(efi, "initrd"):                 boot.initrd,
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := put(name, data); err != nil {
			return err
		}
	}
	const sectors = 24 << 20 / sectorSize
	fat := filepath.Join(tree, "boot/efi.img")
	if err := put(fat, nil); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"truncate", "--size", fmt.Sprint(sectors * sectorSize), fat},
		{"mformat", "-i", fat, "-T", fmt.Sprint(sectors), "-h", "64", "-s", "32", "::"},
		{"mcopy", "-s", "-i", fat, filepath.Join(efi, "EFI"), filepath.Join(efi, "loader"), filepath.Join(efi, "linux"), filepath.Join(efi, "initrd"), "::"},
		{
			"xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-joliet-long", "-V", i.Label, "-o", i.Path,
			"-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
			"-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", tree,
		},
	} {
		if err := run(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// put writes a file, and the directories above it.
func put(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

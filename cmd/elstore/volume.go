package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeCommand(c *cli) *cobra.Command {
	cmd := group("volume", "Make, change and copy volumes", `Volumes are the disks of virtual machines.

A volume is named by its id, the first 4 or more digits of it, or its name: see
`+"`elstore help identity`"+`.`, "volumes", "vol")
	cmd.AddCommand(
		newVolumeCreate(c), newVolumeList(c), newVolumeInfo(c), newVolumeSet(c), newVolumeResize(c),
		newVolumeConvert(c), newVolumeClone(c), newVolumeTransfer(c), newVolumeImport(c), newVolumeCompact(c),
		newVolumeUpload(c), newVolumeDownload(c), newVolumeDestroy(c), newVolumeRestore(c),
		newVolumeCredentials(c),
	)
	return cmd
}

// The words that a volume's attributes can have, for completion; the server decides.
var (
	imageWords    = words("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx")
	formatWords   = words("raw", "qcow2", "rbd")
	busWords      = words("virtio", "scsi", "sata", "ide")
	algWords      = words("cp", "rsync", "rclone", "no")
	preallocWords = words("off", "metadata", "falloc", "full")
	boolWords     = words("true", "false")
)

// attributes are the flags of a new volume.
type attributes struct {
	client.Attributes

	private, readonly, shareable, bootable, clonable bool
}

// add adds the flags to cmd.
func (a *attributes) add(c *cli, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.Format, "format", "", "how the image is stored: raw, qcow2, or rbd on Ceph (default raw)")
	f.StringVar(&a.Pool, "pool", "", "pool to put it in (default the one with most room)")
	f.StringVar(&a.Bus, "bus", "", "how machines see it: virtio, scsi, sata or ide (default virtio)")
	f.StringVar(&a.Alg, "alg", "", "how clones are copied: cp, rsync, rclone, or no for never (default cp)")
	f.StringVar(&a.Preallocation, "preallocation", "", "storage taken at once: off, metadata, falloc or full (default off)")
	f.BoolVar(&a.private, "private", false, "only its owner sees it")
	f.BoolVar(&a.readonly, "readonly", false, "its content never changes")
	f.BoolVar(&a.shareable, "shareable", false, "several machines may write to it at once")
	f.BoolVar(&a.bootable, "bootable", false, "machines can boot from it")
	f.BoolVar(&a.clonable, "clonable", true, "it may be cloned")
	completeFlag(cmd, "format", formatWords)
	completeFlag(cmd, "pool", c.complete(pools, -1))
	completeFlag(cmd, "bus", busWords)
	completeFlag(cmd, "alg", algWords)
	completeFlag(cmd, "preallocation", preallocWords)
	for _, name := range []string{"private", "readonly", "shareable", "bootable", "clonable"} {
		completeFlag(cmd, name, boolWords)
	}
}

// given returns the attributes, with those left out that the command line does.
func (a *attributes) given(cmd *cobra.Command) client.Attributes {
	set := func(name string, value bool) *bool {
		if !cmd.Flags().Changed(name) {
			return nil
		}
		return &value
	}
	r := a.Attributes
	r.Private = set("private", a.private)
	r.ReadOnly = set("readonly", a.readonly)
	r.Shareable = set("shareable", a.shareable)
	r.Bootable = set("bootable", a.bootable)
	r.Clonable = set("clonable", a.clonable)
	return r
}

// creatorFlag adds --creator: the owner of what is made, where that is somebody else.
func creatorFlag(cmd *cobra.Command, creator *string) {
	cmd.Flags().StringVar(creator, "creator", "", "id of the owner (default you)")
}

// creatorOr returns the owner of what is made.
func (s *session) creatorOr(flag string) (string, error) {
	if flag == "" {
		return s.me, nil
	}
	id, ok := fullID(flag)
	if !ok {
		return "", usagef("--creator is %q; it is 32 hexadecimal digits, or a UUID", flag)
	}
	return id, nil
}

// made says what was made.
func (c *cli) made(cmd *cobra.Command, verb string, v client.Created) error {
	if c.quiet {
		return printf(cmd, "%s\n", v.ID)
	}
	where := ""
	if v.Pool != "" {
		where = " in pool " + printable(v.Pool)
	}
	return printf(cmd, "%s volume %s (%s)%s.\n", verb, v.ID, printable(v.Name), where)
}

// did says what was done to a volume.
func (c *cli) did(cmd *cobra.Command, id string, format string, args ...any) error {
	if c.quiet {
		return printf(cmd, "%s\n", id)
	}
	return printf(cmd, "%s\n", fmt.Sprintf(format, args...))
}

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"elstore/volume/qemu"
)

// targetOptions are the flags of `elstore target`.
type targetOptions struct {
	image, format, ram     string
	listen                 []string
	chap, mutual, chapFile string
	readonly, thin, thick  bool
	removable, cdrom       bool
	readyFile              string
}

const targetHelp = `Serve one disk image over iSCSI, without a storage server: the image is LUN 0 of a target of its own,
until SIGTERM or Ctrl-C. What initiators are to be told is printed when it is ready.

The image is a raw or a qcow2 file, or with --ram a disk in memory. A file that bears the signs of a format
is served only by naming the format with --format: guests can write such signs into raw images.
One that another process serves is refused, unless both only read.

Any number of initiators may log in, as clusters and several paths need it. Which of them may write
is theirs to settle by persistent reservations. Those of an image that can be written are kept beside it,
in IMAGE.reservations; others last as long as the process.

To grow a raw image while it is served, make the file longer and send SIGHUP: initiators are told.

Addresses that other machines reach need --chap. A secret on the command line can be seen by everybody
on this machine; --chap-file names a file instead, with user:secret on its first line, and what the target
proves itself with, name:secret, on the second, if it is to.`

func newTargetCommand() *cobra.Command {
	var o targetOptions
	cmd := &cobra.Command{
		Use:   "target",
		Short: "Serve one disk image over iSCSI",
		Long:  targetHelp,
		Example: `  elstore target --image disk.img
  elstore target --image disk.qcow2 --format qcow2 --listen 0.0.0.0:3260 --chap-file secrets
  elstore target --image debian.iso --cdrom
  elstore target --ram 4Gi --listen 127.0.0.1:0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			return serveTarget(cmd.Context(), o, cmd.OutOrStdout(), log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "file with the disk")
	f.StringVar(&o.format, "format", "", "format of the image, raw or qcow2 (default raw)")
	f.StringVar(&o.ram, "ram", "", "serve a disk of that size in memory instead, as 4Gi; it is gone with the process")
	f.StringArrayVar(&o.listen, "listen", []string{"127.0.0.1:3260"}, "address of the target; port 0 is any free one; may be repeated")
	f.StringVar(&o.chap, "chap", "", "user:secret that initiators must prove to know")
	f.StringVar(&o.mutual, "mutual-chap", "", "name:secret that the target proves to know to initiators that ask")
	f.StringVar(&o.chapFile, "chap-file", "", "file with the values of --chap and, on the second line, --mutual-chap")
	f.BoolVar(&o.readonly, "readonly", false, "refuse every change")
	f.BoolVar(&o.thin, "thin", false, "let initiators give back storage (the default)")
	f.BoolVar(&o.thick, "thick", false, "a disk whose storage can't be given back")
	f.BoolVar(&o.removable, "removable", false, "a medium that initiators can eject")
	f.BoolVar(&o.cdrom, "cdrom", false, "a CD-ROM drive with the image, such as an ISO, in it")
	f.StringVar(&o.readyFile, "ready-file", "", "file to write the addresses to, as JSON, when the target is ready")
	completeFlag(cmd, "format", words(string(qemu.Raw), string(qemu.QCOW2)))
	return cmd
}

// check refuses what can't be meant.
func (o *targetOptions) check() error {
	switch {
	case o.image == "" && o.ram == "":
		return usagef("--image names the file to serve, or --ram the size of a disk in memory; one of them is needed")
	case o.image != "" && o.ram != "":
		return usagef("--image and --ram exclude each other")
	case o.ram != "" && o.format != "":
		return usagef("--format is that of an --image; a disk in memory has none")
	case o.thin && o.thick:
		return usagef("--thin and --thick exclude each other")
	case o.cdrom && o.thin:
		return usagef("a CD-ROM can't be written, so there is no storage to give back: --cdrom and --thin exclude each other")
	case o.chapFile != "" && (o.chap != "" || o.mutual != ""):
		return usagef("--chap-file holds what --chap and --mutual-chap would say; use the one or the others")
	case o.mutual != "" && o.chap == "":
		return usagef("--mutual-chap needs --chap: a target proves itself only to initiators that do so too")
	}
	switch qemu.Format(o.format) {
	case "", qemu.Raw, qemu.QCOW2:
	default:
		return usagef("--format %q is not one of raw, qcow2; `qemu-img convert` makes one of them from others", o.format)
	}
	if o.ram != "" {
		if _, err := parseSize(o.ram); err != nil {
			return &usageError{fmt.Errorf("--ram: %w", errors.Unwrap(err))}
		}
	}
	return nil
}

// writable reports whether initiators may change the image.
func (o *targetOptions) writable() bool { return !o.readonly && !o.cdrom }

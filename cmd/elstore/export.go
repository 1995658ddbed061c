package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newExportCommand(c *cli) *cobra.Command {
	var (
		r                   client.ExportRequest
		to, only            string
		readonly, multipath bool
		rates               [4]float64
	)
	cmd := &cobra.Command{
		Use:        "export VOLUME",
		SuggestFor: []string{"attach", "map", "share", "publish"},
		Short:      "Let a client attach a volume, and see what is exported",
		Long: `Let a client, you unless --to says who, attach a volume, and print what is needed for that, secrets
included. Asked again it prints the same.

--for prints only what one program needs: uri (QEMU, libiscsi and libnbd), qemu (the values of -object
and -blockdev), keys (commands that write the keys of type nbd where QEMU looks for them), iscsiadm
(commands for the Linux initiator), or libvirt (XML).`,
		Example: `  elstore export web
  elstore export web --to 5e96afa52c1a53348adc5c5663978058 --for iscsiadm | sh
  elstore export web --type nbd --for keys | sh
  qemu-img info "$(elstore export web --for uri)"
  elstore export list`,
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			f := cmd.Flags()
			if f.Changed("readonly") {
				r.ReadOnly = &readonly
			}
			if f.Changed("multipath") {
				r.Multipath = &multipath
			}
			for i, into := range []**float64{&r.ReadMB, &r.WriteMB, &r.ReadIOPS, &r.WriteIOPS} {
				if f.Changed(rateFlags[i]) {
					*into = &rates[i]
				}
			}
			return c.export(cmd, given[0], to, only, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "the client that is to attach it (default you)")
	f.StringVar(&r.Type, "type", "", "how it is to be reached: iscsi, nbd, local or samba (default iscsi)")
	f.StringVar(&r.Initiator, "initiator", "", "let in only the initiator of this name")
	f.BoolVar(&readonly, "readonly", false, "it can't be written")
	f.BoolVar(&multipath, "multipath", false, "let one initiator in several times")
	f.StringArrayVar(&r.Portals, "portal", nil, "print only this portal of the server; may be repeated")
	f.BoolVar(&r.Rotate, "rotate", false, "make a new secret; who is logged in stays so")
	f.BoolVar(&r.Path, "path", false, "with --type local: the image's own path, which can't be taken back while it is open")
	f.StringVar(&only, "for", "", "print only what this program needs: uri, qemu, keys, iscsiadm or libvirt")
	for i, what := range []string{"10^6 bytes read", "10^6 bytes written", "reads", "writes"} {
		f.Float64Var(&rates[i], rateFlags[i], 0, "at most so many "+what+" per second, 0 is no limit (default the volume's)")
	}
	completeFlag(cmd, "for", words("uri", "qemu", "keys", "iscsiadm", "libvirt"))
	cmd.AddCommand(newExportList(c), newExportShow(c), newExportWatch(c), newExportRecover(c))
	return cmd
}

// rateFlags are the flags of the four rates, in their order.
var rateFlags = []string{"read-mb", "write-mb", "read-iops", "write-iops"}

// export exports a volume and prints the answer.
func (c *cli) export(cmd *cobra.Command, volume, to, only string, r client.ExportRequest) error {
	switch only {
	case "", "uri", "qemu", "keys", "iscsiadm", "libvirt":
	default:
		return usagef("--for is %q; it is uri, qemu, keys, iscsiadm or libvirt", only)
	}
	return c.changing(cmd, volume, func(s *session, id string) (err error) {
		r.Volume = id
		if r.Client, err = orMe(s, to, "--to"); err != nil {
			return err
		}
		e, err := s.Export(cmd.Context(), r)
		switch {
		case err != nil:
			return err
		case c.json:
			return printJSON(cmd, e)
		case c.quiet:
			return printf(cmd, "%s\n", printable(e.Attachment))
		case only != "":
			return printFor(cmd, only, &e)
		}
		return printExport(cmd, &e)
	})
}

// orMe is the client that a flag names, else oneself.
func orMe(s *session, given, flag string) (string, error) {
	if given == "" {
		return s.me, nil
	}
	id, ok := fullID(given)
	if !ok {
		return "", usagef("%s is %q; it is 32 hexadecimal digits, or a UUID", flag, given)
	}
	return id, nil
}

// printFor prints what one program needs.
func printFor(cmd *cobra.Command, program string, e *client.Export) error {
	var lines []string
	switch program {
	case "uri":
		lines = []string{e.URI}
	case "qemu":
		if len(e.Object) > 0 {
			lines = append(lines, string(e.Object))
		}
		lines = append(lines, string(e.Blockdev))
	case "keys":
		lines = e.Keys
	case "iscsiadm":
		lines = e.ISCSIAdm
	case "libvirt":
		if e.Libvirt != nil {
			lines = []string{e.Libvirt.Disk, e.Libvirt.Secret}
		}
	}
	if len(lines) == 0 || lines[0] == "" {
		return fmt.Errorf("an export of type %s has nothing for %s", e.Type, program)
	}
	for _, line := range lines {
		if err := printf(cmd, "%s\n", printable(line)); err != nil {
			return err
		}
	}
	return nil
}

func printExport(cmd *cobra.Command, e *client.Export) error {
	pairs := []string{"Volume", e.Volume, "Client", e.Client, "Type", e.Type}
	add := func(name, value string) {
		if value != "" {
			pairs = append(pairs, name, value)
		}
	}
	add("Target", e.Target)
	add("Portals", strings.Join(e.Portals, ", "))
	add("User", e.User)
	add("Secret", e.Secret)
	add("Target's user", e.PeerUser)
	add("Target's secret", e.PeerSecret)
	add("Only initiator", e.Initiator)
	add("Socket", e.Socket)
	add("Path", e.Path)
	add("URI", e.URI)
	if e.TLS != nil {
		add("Keys", e.TLS.Dir+" (made by what --for keys prints)")
	}
	pairs = append(pairs, "Read-only", yesNo(e.ReadOnly))
	return fields(cmd.OutOrStdout(), pairs...)
}

func newUnexportCommand(c *cli) *cobra.Command {
	var r client.UnexportRequest
	var from string
	cmd := &cobra.Command{
		Use:        "unexport VOLUME",
		SuggestFor: []string{"detach", "unmap", "unshare"},
		Short:      "End an export",
		Long: `End the exports of a volume to a client, you unless --from says who: whose the volume is ends
anybody's. Sessions that live are ended, and when the command returns nothing of them can reach the
volume any more.`,
		Example: `  elstore unexport web
  elstore unexport web --from 5e96afa52c1a53348adc5c5663978058 --if-idle`,
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) (err error) {
				r.Volume = id
				if r.Client, err = orMe(s, from, "--from"); err != nil {
					return err
				}
				if err := s.Unexport(cmd.Context(), r); err != nil {
					return err
				}
				if c.json {
					return printJSON(cmd, map[string]string{"volume_id": id, "client_uid": r.Client})
				}
				return c.did(cmd, id, "Volume %s is not exported to %s any more.", id, r.Client)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the client that has it (default you)")
	f.StringVar(&r.Type, "type", "", "only exports of this type")
	f.BoolVar(&r.IfIdle, "if-idle", false, "only if nobody is logged in")
	return cmd
}

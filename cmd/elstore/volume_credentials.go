package main

import (
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeCredentials(c *cli) *cobra.Command {
	var to, only string
	cmd := &cobra.Command{
		Use:   "credentials VOLUME",
		Short: "Let a client open a volume on Ceph itself",
		Long: `Make a user of the Ceph cluster who may open the image of a volume in format rbd, and nothing else, and
print what is needed for that, its key included. It is for a client, you unless --to says who, and goes
with the image, or when the volume is exported. Asked again it prints the same.

--for prints only what one thing needs: uri (QEMU, with the other two as files), qemu (the values of
-object and -blockdev, which need no files), conf (a ceph.conf) or keyring.`,
		Example: `  elstore volume credentials web
  elstore volume credentials web --for keyring`,
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.cephCredentials(cmd, given[0], to, only)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the client that is to open it (default you)")
	cmd.Flags().StringVar(&only, "for", "", "print only what this needs: uri, qemu, conf or keyring")
	completeFlag(cmd, "for", words("uri", "qemu", "conf", "keyring"))
	return cmd
}

func (c *cli) cephCredentials(cmd *cobra.Command, volume, to, only string) error {
	switch only {
	case "", "uri", "qemu", "conf", "keyring":
	default:
		return usagef("--for is %q; it is uri, qemu, conf or keyring", only)
	}
	return c.changing(cmd, volume, func(s *session, id string) error {
		who, err := orMe(s, to, "--to")
		if err != nil {
			return err
		}
		a, err := s.CephCredentials(cmd.Context(), id, who)
		switch {
		case err != nil:
			return err
		case c.json:
			return printJSON(cmd, a)
		case c.quiet:
			return printf(cmd, "%s\n", printable(a.User))
		}
		return printCredentials(cmd, only, &a)
	})
}

func printCredentials(cmd *cobra.Command, only string, a *client.CephCredentials) error {
	switch only {
	case "uri":
		return printf(cmd, "%s\n", printable(a.URI))
	case "qemu":
		return printf(cmd, "%s\n%s\n", printable(string(a.Object)), printable(string(a.Blockdev)))
	case "conf", "keyring":
		text := a.Conf
		if only == "keyring" {
			text = a.Keyring
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if err := printf(cmd, "%s\n", printable(strings.TrimSpace(line))); err != nil {
				return err
			}
		}
		return nil
	}
	return fields(cmd.OutOrStdout(), "Volume", a.Volume, "Client", a.Client, "Cluster", a.Cluster,
		"Monitors", strings.Join(a.Monitors, ", "), "Pool", a.Pool, "Image", a.Image, "User", a.User, "Key", a.Key, "URI", a.URI)
}

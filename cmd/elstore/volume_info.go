package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeInfo(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "info VOLUME...",
		Aliases: []string{"show"},
		Short:   "Show all that is known of volumes",
		Long:    "Show all that is known of volumes. With --json every volume is a line of its own.",
		Example: `  elstore volume info web
  elstore volume info 2bef4e86 --json | jq .sizeOnDisk`,
		Args:              args(1, -1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			first := true
			return each(cmd, given, func(arg string) error {
				id, err := s.volume(cmd.Context(), arg)
				if err != nil {
					return err
				}
				v, err := s.Info(cmd.Context(), id)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, v)
				case c.quiet:
					return printf(cmd, "%s\n", v.ID)
				case !first:
					if err := printf(cmd, "\n"); err != nil {
						return err
					}
				}
				first = false
				return printVolume(cmd, v)
			})
		},
	}
}

func printVolume(cmd *cobra.Command, v client.Volume) error {
	format := v.Format
	if v.ISOType != "" {
		format += " (" + v.ISOType + ")"
	}
	return fields(cmd.OutOrStdout(),
		"ID", v.ID,
		"Name", v.Name,
		"Owner", v.Creator,
		"Size", exactSize(v.Size),
		"On disk", exactSize(v.SizeOnDisk),
		"Format", format,
		"Pool", v.Pool,
		"Bus", v.Bus,
		"Private", yesNo(v.Private),
		"Read-only", yesNo(v.ReadOnly),
		"Shareable", yesNo(v.Shareable),
		"Bootable", yesNo(v.Bootable),
		"Clonable", clonable(v),
		"State", volumeState(v),
		"Used by", strings.Join(v.Exports, ", "),
		"Updated", v.LastUpdated+" UTC",
	)
}

func exactSize(n int64) string {
	human := humanSize(n)
	if n < 1000 {
		return human
	}
	return fmt.Sprintf("%s (%d bytes)", human, n)
}

func clonable(v client.Volume) string {
	if v.Clonable && v.Alg != "" {
		return "yes, by " + v.Alg
	}
	return yesNo(v.Clonable)
}

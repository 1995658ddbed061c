package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newVolumeSet(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:        "set VOLUME KEY=VALUE...",
		SuggestFor: []string{"rename", "update", "edit", "modify"},
		Short:      "Change a volume's attributes",
		Long: `Change attributes of a volume: name, private, readonly, shareable, bootable, clonable, alg
and bus. Other keys are kept with the volume as they are, for programs that know them.

The size is changed with resize, the format with convert, the owner with transfer.`,
		Example: `  elstore volume set web name=web-old
  elstore volume set web private=true bus=scsi`,
		Args: args(2, -1, "VOLUME KEY=VALUE"),
		ValidArgsFunction: func(cmd *cobra.Command, given []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(given) == 0 {
				return c.complete(volumes, 1)(cmd, given, begun)
			}
			return completePairs(begun)
		},
		RunE: func(cmd *cobra.Command, given []string) error {
			changes, err := parsePairs(given[1:], "the change")
			if err != nil {
				return err
			}
			return c.changing(cmd, given[0], func(s *session, id string) error {
				answer, err := s.Update(cmd.Context(), id, s.me, changes)
				if err != nil {
					return err
				}
				return c.changed(cmd, answer, id, "Changed %s of volume %s.", strings.Join(slices.Sorted(maps.Keys(changes)), ", "), id)
			})
		},
	}
}

// completePairs offers keys, and behind a key its values.
func completePairs(begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	values := map[string][]string{
		"name": nil, "alg": {"cp", "rsync", "rclone", "no"}, "bus": {"virtio", "scsi", "sata", "ide"},
		"private": {"true", "false"}, "readonly": {"true", "false"}, "shareable": {"true", "false"},
		"bootable": {"true", "false"}, "clonable": {"true", "false"},
	}
	var out []cobra.Completion
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(begun, key+"=") {
			if strings.HasPrefix(key, begun) {
				out = append(out, key+"=")
			}
			continue
		}
		for _, value := range values[key] {
			if pair := key + "=" + value; strings.HasPrefix(pair, begun) {
				out = append(out, pair)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

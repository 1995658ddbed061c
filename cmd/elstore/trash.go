package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newTrashCommand(c *cli) *cobra.Command {
	cmd := group("trash", "Look into the bins and empty them", `Destroyed volumes lie in their pool's bin until its retention ends. They count against the pool's
limits until they are gone for good.`, "bin")
	cmd.AddCommand(newTrashList(c), newTrashEmpty(c))
	return cmd
}

func newTrashList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List what lies in the bins",
		Long:    "List the volumes in the bins that you may see, the oldest first.",
		Example: "  elstore trash list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			list, err := s.Trash(cmd.Context(), s.me)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			}
			return printTrash(c, cmd, list)
		},
	}
}

func printTrash(c *cli, cmd *cobra.Command, list []client.Volume) error {
	if c.quiet {
		return printVolumes(c, cmd, list, true)
	}
	t := newTable(cmd.OutOrStdout(), "ID", "NAME", "SIZE", "FORMAT", "POOL", "DESTROYED (UTC)")
	for _, v := range list {
		t.row(v.ID, v.Name, humanSize(v.Size), v.Format, v.Pool, minute(v.Trashed))
	}
	return t.end()
}

func newTrashEmpty(c *cli) *cobra.Command {
	var (
		pool string
		yes  bool
	)
	cmd := &cobra.Command{
		Use:   "empty",
		Short: "Remove what lies in the bins for good",
		Long: `Remove your volumes that lie in the bins, or in one pool's, for good. On a terminal that is
asked about first, unless --yes says so.`,
		Example: `  elstore trash empty
  elstore trash empty --pool fast --yes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if !yes {
				what := "the bins"
				if pool != "" {
					what = "the bin of pool " + pool
				}
				if err := confirm(cmd, fmt.Sprintf("Remove all your volumes in %s for good?", what)); err != nil {
					return err
				}
			}
			answer, err := s.EmptyTrash(cmd.Context(), pool, s.me)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, answer)
			case c.quiet:
				return nil
			}
			return printf(cmd, "Removed %s.\n", counted(int64(answer.Purged), "volume"))
		},
	}
	cmd.Flags().StringVar(&pool, "pool", "", "only the bin of this pool")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	completeFlag(cmd, "pool", c.complete(pools, -1))
	return cmd
}

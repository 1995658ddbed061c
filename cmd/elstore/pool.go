package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newPoolCommand(c *cli) *cobra.Command {
	cmd := group("pool", "Look at the pools", "Pools are the directories that volumes are kept in: those with a settings.json.", "pools")
	cmd.AddCommand(newPoolList(c), newPoolShow(c), newPoolRefresh(c), newPoolCreate())
	return cmd
}

// newPoolCreate makes a command that says how pools come into being, to those who look for it here.
func newPoolCreate() *cobra.Command {
	const how = "a pool is made on the server: put a settings.json, {} will do, into a directory below its --root, and the server finds it"
	return &cobra.Command{
		Use:     "create",
		Aliases: []string{"new", "add", "make"},
		Short:   "Say how a pool is made",
		Long: `There is nothing to ask the server for: put a settings.json, {} will do, into a directory below
its --root, and the server finds it. What can stand in it, the README says.`,
		Example: `  mkdir /mnt/fast && echo '{"max-volumes": 50}' > /mnt/fast/settings.json`,
		Hidden:  true,
		RunE:    func(*cobra.Command, []string) error { return usagef("%s", how) },
	}
}

func newPoolList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the pools",
		Long: `List the pools with what is used of their limits, and the directories that look like a pool
and are none, with the reason.

Sizes are virtual, those of the volumes in the bin included. FREE is the file system's.`,
		Example: `  elstore pool list
  elstore pool list --json | jq -r '.[] | select(.valid) | .name'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			list, err := cl.Pools(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			}
			return printPools(c, cmd, list)
		},
	}
}

func printPools(c *cli, cmd *cobra.Command, list []client.Pool) error {
	if c.quiet {
		for _, p := range list {
			if p.Name != "" {
				if err := printf(cmd, "%s\n", printable(p.Name)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "NAME", "VOLUMES", "SIZE", "BIN", "FREE", "FILE SYSTEM", "STATE", "PATH")
	for _, p := range list {
		if p.Name == "" {
			t.row("", "", "", "", "", "", "no pool: "+p.Reason, p.Path)
			continue
		}
		t.row(p.Name, of(fmt.Sprint(p.Used.Volumes), p.Limits.Volumes, plain), of(humanSize(p.Used.Bytes), p.Limits.TotalSize, humanSize),
			fmt.Sprint(p.Bin.Volumes), orNone(p.Free, humanSize), p.FileSystem, poolState(p), p.Path)
	}
	return t.end()
}

func poolState(p client.Pool) string {
	switch {
	case p.Valid:
		return "valid"
	case p.Reason == "":
		return "not valid"
	}
	return "not valid: " + p.Reason
}

// of writes "3 of 50", or "3" where there is no limit.
func of(used string, limit *int64, write func(int64) string) string {
	if limit == nil {
		return used
	}
	return used + " of " + write(*limit)
}

func plain(n int64) string { return fmt.Sprint(n) }

// orNone writes what there is.
func orNone(n *int64, write func(int64) string) string {
	if n == nil {
		return ""
	}
	return write(*n)
}

func newPoolShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "show POOL",
		Aliases:           []string{"info"},
		Short:             "Show one pool",
		Long:              "Show a pool with its limits, what is used of them, and why it is not valid, if so.",
		Example:           "  elstore pool show fast",
		Args:              args(1, 1, "POOL"),
		ValidArgsFunction: c.complete(pools, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			p, err := cl.Pool(cmd.Context(), given[0])
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, p)
			}
			return printPool(cmd, p)
		},
	}
}

func printPool(cmd *cobra.Command, p client.Pool) error {
	bin := fmt.Sprintf("%s, %s, kept for %s", counted(p.Bin.Volumes, "volume"), humanSize(p.Bin.Bytes), humanDuration(p.Bin.Retention))
	if p.Bin.Keep {
		bin += ", also when their room is needed"
	}
	return fields(cmd.OutOrStdout(),
		"Name", p.Name,
		"Path", p.Path,
		"State", poolState(p),
		"Volumes", of(fmt.Sprint(p.Used.Volumes), p.Limits.Volumes, plain),
		"Total size", of(humanSize(p.Used.Bytes), p.Limits.TotalSize, humanSize),
		"Reserved", counted(p.Reserved.Volumes, "volume")+", "+humanSize(p.Reserved.Bytes),
		"Largest volume", orNone(p.Limits.VolumeSize, humanSize),
		"Bin", bin,
		"File system", p.FileSystem,
		"Free", orNone(p.Free, humanSize),
		"Left alone", humanSize(p.Reserve),
		"Formats", strings.Join(p.Formats, ", "),
		"Copies share blocks", yesNo(p.Reflink),
		"Shared", yesNo(p.Shared),
	)
}

func newPoolRefresh(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh [POOL...]",
		Short: "Look again at what stands in the pools",
		Long: `Make the server look at its pools now, or at those that are named: it takes up pools and
volumes that were put there, or taken away, by hand. It does so by itself, sooner or later.`,
		Example: `  elstore pool refresh
  elstore pool refresh fast`,
		ValidArgsFunction: c.complete(pools, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			if len(given) == 0 {
				given = []string{""} // all
			}
			return each(cmd, given, func(name string) error {
				list, err := cl.RefreshPools(cmd.Context(), name)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, list)
				case c.quiet:
					return nil
				}
				for _, r := range list {
					if err := printf(cmd, "Pool %s: %s came, %d went.\n", printable(r.Name), counted(int64(r.Came), "volume"), r.Went); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

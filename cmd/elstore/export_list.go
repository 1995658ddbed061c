package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newExportList(c *cli) *cobra.Command {
	var of string
	var orphans bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List what is exported",
		Long: `List what is exported, with who is logged in and what they did since the server started.

--orphans lists instead what disagrees: exports that should stand and don't, and markers that nothing
stands for.`,
		Example: `  elstore export list
  elstore export list --to 5e96afa52c1a53348adc5c5663978058
  elstore export list --json | jq -r '.[] | select(.sessions == []) | .volume_id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			if orphans {
				return c.orphans(cmd, cl)
			}
			if of != "" {
				id, ok := fullID(of)
				if !ok {
					return usagef("--to is %q; it is 32 hexadecimal digits, or a UUID", of)
				}
				of = id
			}
			list, err := cl.Exports(cmd.Context(), of, "")
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			}
			return printExports(c, cmd, list)
		},
	}
	cmd.Flags().StringVar(&of, "to", "", "only those to this client")
	cmd.Flags().BoolVar(&orphans, "orphans", false, "what disagrees")
	return cmd
}

func printExports(c *cli, cmd *cobra.Command, list []client.ExportInfo) error {
	if c.quiet {
		for _, e := range list {
			if err := printf(cmd, "%s\n", printable(e.Volume)); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "VOLUME", "CLIENT", "TYPE", "STATE", "SESSIONS", "READ", "WRITTEN", "SINCE (UTC)")
	for _, e := range list {
		state := e.State
		if e.ReadOnly {
			state += ", read-only"
		}
		if e.Migration != "" {
			state += ", migrating"
		}
		t.row(e.Volume, e.Client, e.Type, state, strconv.Itoa(len(e.Sessions)), humanSize(int64(e.ReadBytes)), humanSize(int64(e.WriteBytes)), minute(e.Since))
	}
	return t.end()
}

// orphans prints what disagrees. Its exit code says whether there is something.
func (c *cli) orphans(cmd *cobra.Command, cl *client.Client) error {
	list, err := cl.Orphans(cmd.Context())
	switch {
	case err != nil:
		return err
	case c.json:
		return printJSON(cmd, list)
	}
	t := newTable(cmd.OutOrStdout(), "VOLUME", "PROBLEM")
	for _, o := range list {
		t.row(o.Volume, o.Problem)
	}
	return t.end()
}

func newExportShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "show VOLUME",
		Short:             "Show how a volume is exported, and who is there",
		Long:              "Show how a volume is exported, to whom, and who is logged in. Secrets are not shown.",
		Example:           "  elstore export show web",
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				list, err := s.Exports(cmd.Context(), "", id)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, list)
				case len(list) == 0:
					return printf(cmd, "Volume %s is not exported.\n", id)
				}
				for i := range list {
					if err := showExport(cmd, &list[i]); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func showExport(cmd *cobra.Command, e *client.ExportInfo) error {
	pairs := []string{
		"Volume", e.Volume, "Client", e.Client, "Type", e.Type, "State", e.State, "Target", e.Target, "Read-only", yesNo(e.ReadOnly),
		"Multipath", yesNo(e.Multipath), "Only initiator", e.Initiator, "Since", minute(e.Since), "Epoch", strconv.FormatInt(e.Epoch, 10),
		"Read", fmt.Sprintf("%s in %s", humanSize(int64(e.ReadBytes)), counted(int64(e.Reads), "read")),
		"Written", fmt.Sprintf("%s in %s", humanSize(int64(e.WriteBytes)), counted(int64(e.Writes), "write")),
		"Errors", strconv.FormatUint(e.Errors, 10),
	}
	for _, s := range e.Sessions {
		pairs = append(pairs, "Session", fmt.Sprintf("%s from %s since %s", s.Initiator, s.Remote, minute(s.Since)))
	}
	return fields(cmd.OutOrStdout(), pairs...)
}

func newExportWatch(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Follow exports, logins and logouts",
		Long:  "Print a line whenever an export begins or ends, and whenever somebody logs in or out, until Ctrl-C.",
		Example: `  elstore export watch
  elstore export watch --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			for e, err := range cl.Events(cmd.Context(), 0) {
				if err != nil {
					return err
				}
				if !wanted(e.Type, []string{"export.", "session."}) {
					continue
				}
				if err := c.printEvent(cmd, e); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newExportRecover(c *cli) *cobra.Command {
	var to string
	var off bool
	cmd := &cobra.Command{
		Use:   "recover VOLUME",
		Short: "Take an export over from a server that is gone",
		Long: `Export a volume of a shared pool that another server exported, which is gone for good or for long. That takes
45 seconds, in which the other server must not show that it lives.

Requests that the old server sent to the storage before can't be called back: --old-host-is-off says that you
know that its machine is off.`,
		Example:           "  elstore export recover web --old-host-is-off",
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.export(cmd, given[0], to, "", client.ExportRequest{Takeover: true, OldHostIsOff: off})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the client that is to attach it (default you)")
	cmd.Flags().BoolVar(&off, "old-host-is-off", false, "the old server's machine is off")
	return cmd
}

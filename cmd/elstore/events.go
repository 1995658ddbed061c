package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newEventsCommand(c *cli) *cobra.Command {
	var (
		since int64
		kinds []string
		count int
	)
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens in the server",
		Long: `Print what happens in the server, a line for each event, until Ctrl-C. Where the line breaks it
goes on after the last event that came.

--since also gives events that happened before, after the one of that sequence number, as far
as the server still knows them.`,
		Example: `  elstore events
  elstore events --type volume. --json
  elstore events --type job. --count 1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			shown := 0
			for e, err := range cl.Events(cmd.Context(), since) {
				if err != nil {
					return err
				}
				if !wanted(e.Type, kinds) {
					continue
				}
				if err := c.printEvent(cmd, e); err != nil {
					return err
				}
				if shown++; shown == count {
					return nil
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Int64Var(&since, "since", 0, "begin after the event of this sequence number")
	f.StringArrayVar(&kinds, "type", nil, "only events whose type begins so, as volume. or job.changed; may be repeated")
	f.IntVar(&count, "count", 0, "end after so many events (default never)")
	completeFlag(cmd, "type", words("volume.", "pool.", "job.", "export.", "session.", "migration."))
	return cmd
}

// wanted reports whether a type begins with one of kinds.
func wanted(kind string, kinds []string) bool {
	for _, k := range kinds {
		if strings.HasPrefix(kind, k) {
			return true
		}
	}
	return len(kinds) == 0
}

func (c *cli) printEvent(cmd *cobra.Command, e client.Event) error {
	if c.json {
		return printJSON(cmd, e)
	}
	about := e.Volume
	if e.Job != nil {
		about = fmt.Sprintf("%s %s %s %s", e.Job.ID, e.Job.Kind, e.Job.State, percent(*e.Job))
	}
	if x := e.Export; x != nil {
		about += " " + x.Type + " " + x.Client
		if x.Initiator != "" {
			about += " " + x.Initiator + " from " + x.Remote
		}
	}
	if e.Pool != "" {
		about += " in pool " + e.Pool
	}
	return printf(cmd, "%s  %-17s  %s\n", printable(e.Time), printable(e.Type), strings.TrimSpace(printable(about)))
}

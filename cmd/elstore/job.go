package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newJobCommand(c *cli) *cobra.Command {
	cmd := group("job", "Follow and cancel long work", `Long work is done by jobs of the server, which go on whether anybody waits for them or not.`, "jobs")
	cmd.AddCommand(newJobList(c), newJobShow(c), newJobWait(c), newJobCancel(c))
	return cmd
}

// unended are the states of jobs that go on.
var unended = []client.State{client.Queued, client.Running}

func newJobList(c *cli) *cobra.Command {
	var (
		running bool
		volume  string
		filter  client.JobFilter
	)
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the jobs that the server remembers",
		Long:    "List jobs, the newest first: those that run, and those that ended not long ago.",
		Example: `  elstore job list --running
  elstore job list --json | jq -r '.[] | select(.state == "failed") | .error'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			if running {
				filter.States = unended
			}
			if volume != "" {
				s, err := c.begin(cmd.Context())
				if err != nil {
					return err
				}
				if filter.Volume, err = s.volume(cmd.Context(), volume); err != nil {
					return err
				}
			}
			list, err := cl.Jobs(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd, list)
			}
			return printJobs(c, cmd, list)
		},
	}
	cmd.Flags().BoolVar(&running, "running", false, "only those that have not ended")
	cmd.Flags().StringVar(&volume, "volume", "", "only those about this volume")
	cmd.Flags().StringArrayVar(&filter.Kinds, "kind", nil, "only those of this kind, as clone; may be repeated")
	completeFlag(cmd, "volume", c.complete(volumes, -1))
	return cmd
}

func printJobs(c *cli, cmd *cobra.Command, list []client.Job) error {
	if c.quiet {
		for _, j := range list {
			if err := printf(cmd, "%s\n", j.ID); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "ID", "WHAT", "STATE", "DONE", "VOLUMES", "BEGAN (UTC)")
	for _, j := range list {
		t.row(j.ID, j.Kind, string(j.State), percent(j), strings.Join(j.Volumes, " "), minute(j.Created))
	}
	return t.end()
}

// percent says how much of a job is done, where that is known.
func percent(j client.Job) string {
	if j.BytesTotal <= 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", int(float64(j.BytesDone)/float64(j.BytesTotal)*100))
}

func newJobShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "show JOB",
		Aliases: []string{"info"},
		Short:   "Show how a job stands",
		Long: `Show how a job stands, and how it ended. The code is 0 also where it failed;
` + "`elstore job wait`" + ` tells by its code.`,
		Example:           "  elstore job show 2kq3v5wx7yzab4cd6ef1gh9ij8",
		Args:              args(1, 1, "JOB"),
		ValidArgsFunction: c.complete(jobs(), 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			j, err := cl.Job(cmd.Context(), given[0])
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, j)
			}
			return printJob(cmd, j)
		},
	}
}

func printJob(cmd *cobra.Command, j client.Job) error {
	done := percent(j)
	if done != "" {
		done += fmt.Sprintf(" (%s of %s)", humanSize(j.BytesDone), humanSize(j.BytesTotal))
	}
	pairs := []string{
		"ID", j.ID,
		"What", j.Kind,
		"State", string(j.State),
		"Done", done,
		"Volumes", strings.Join(j.Volumes, ", "),
		"Asked for by", j.Owner,
		"Began", j.Created,
		"Ended", j.Ended,
	}
	if j.Error != "" {
		pairs = append(pairs, "Error", j.Error, "Code", string(j.Code))
	}
	return fields(cmd.OutOrStdout(), pairs...)
}

func newJobWait(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "wait JOB...",
		Short: "Wait until jobs have ended",
		Long: `Wait until jobs have ended. The code says how they did: 0 done, 4 cancelled, or that of what went
wrong, as if the work's own command had waited. Ctrl-C ends the waiting, not the job.`,
		Example:           "  elstore job wait $(elstore -q volume convert web qcow2 --no-wait)",
		Args:              args(1, -1, "JOB"),
		ValidArgsFunction: c.complete(jobs(unended...), -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			return each(cmd, given, func(id string) error {
				b := c.newBar(cmd, "job "+printable(id))
				j, err := cl.WaitJob(cmd.Context(), id, b.job)
				b.end()
				if err != nil {
					return err
				}
				if err := c.printEnd(cmd, j); err != nil {
					return err
				}
				return j.Err()
			})
		},
	}
}

// printEnd says how a job ended; what went wrong is said as an error.
func (c *cli) printEnd(cmd *cobra.Command, j client.Job) error {
	switch {
	case c.json:
		return printJSON(cmd, j)
	case c.quiet || j.State != client.Done:
		return nil
	}
	return printf(cmd, "Job %s (%s) is done.\n", j.ID, j.Kind)
}

func newJobCancel(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel JOB...",
		Short: "Cancel jobs",
		Long: `Cancel jobs, and wait until nothing of what they had begun is left. A job that has ended stays
as it is, and that is no failure.`,
		Example:           "  elstore job cancel 2kq3v5wx7yzab4cd6ef1gh9ij8",
		Args:              args(1, -1, "JOB"),
		ValidArgsFunction: c.complete(jobs(unended...), -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			return each(cmd, given, func(id string) error {
				j, err := cl.CancelJob(cmd.Context(), id)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, j)
				case c.quiet:
					return nil
				}
				return printf(cmd, "Job %s (%s) is %s.\n", j.ID, j.Kind, j.State)
			})
		},
	}
}

package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newAuditCommand(c *cli) *cobra.Command {
	var (
		f     client.AuditFilter
		since time.Duration
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what",
		Long: `Show what the server's audit log has, the newest first: every call that changed something, and every
refusal of somebody for who it is. It is for operators.`,
		Example: `  elstore audit --since 24h --refused
  elstore audit --who ci --limit 20
  elstore audit --about 2bef4e8692674ff5b0adbf88c5882710`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			if since > 0 {
				f.Since = time.Now().Add(-since)
			}
			list, err := cl.Audit(cmd.Context(), f)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			}
			t := newTable(cmd.OutOrStdout(), "AT (UTC)", "WHO", "ROLE", "FROM", "CALL", "ABOUT", "OUTCOME")
			for _, e := range list {
				t.row(e.Time.UTC().Format("2006-01-02 15:04:05"), e.Who, e.Role, e.Remote, e.Method+" "+e.Route, strings.Join(e.About, " "),
					strings.TrimSpace(strconv.Itoa(e.Status)+" "+e.Code))
			}
			return t.end()
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Who, "who", "", "only of this name, identity or token's id")
	flags.StringVar(&f.About, "about", "", "only about this volume, job, migration or token, by its id")
	flags.DurationVar(&since, "since", 0, "only of the time since, such as 24h")
	flags.BoolVar(&f.Refused, "refused", false, "only what was refused or failed")
	flags.IntVar(&f.Limit, "limit", 100, "at most so many, the newest")
	return cmd
}

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newMigrationCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migration",
		Short: "Move the volumes of a running machine to another host",
		Long: `Move the volumes of a running machine to another host.

prepare lets the second host attach them too. Until you conclude or revert, one of the
two can change them: the first, until the second does so for the first time. conclude
leaves them to the second host, revert to the first.

Where the hosts attach through two servers that share the volumes' pool, say prepare and
conclude to the second host's server, revert to either until the second host has written,
and to its server then. Nothing passes from a server that does not answer: the machine
waits for it. One whose host is off for good is dealt with by ` + "`elstore export recover`" + ` of
each volume, which ends the migration.`,
		Example: `  elstore migration prepare web web-data --to 5e96afa52c1a53348adc5c5663978058
  elstore migration conclude 0123456789abcdef0123456789abcdef`,
	}
	cmd.AddCommand(newMigrationPrepare(c), newMigrationList(c), newMigrationShow(c), newMigrationConclude(c), newMigrationRevert(c), newMigrationResolve(c))
	return cmd
}

func newMigrationPrepare(c *cli) *cobra.Command {
	var (
		r                client.PrepareRequest
		from, to, source string
		timeout          time.Duration
	)
	cmd := &cobra.Command{
		Use:   "prepare VOLUME...",
		Short: "Let a second host attach the volumes of a machine",
		Long: `Let a second host attach the volumes of a machine, all of them or none, and print how it does
that, secrets included. Asked again it prints the same.

Where another server exports the volumes, in a pool that it shares with this one, the second
host attaches them through this one: call the second host's server. Where two hosts are
prepared at the same time, one is refused with the other one's migration.`,
		Example: `  elstore migration prepare web web-data --to 5e96afa52c1a53348adc5c5663978058
  elstore migration prepare web --initiator iqn.2004-10.org.example:node2 --timeout 10m --json`,
		Args:              args(1, -1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			for _, arg := range given {
				id, err := s.volume(cmd.Context(), arg)
				if err != nil {
					return err
				}
				r.Volumes = append(r.Volumes, id)
			}
			if r.Client, err = orMe(s, from, "--from"); err != nil {
				return err
			}
			r.Destination.Client = r.Client
			if to != "" {
				if r.Destination.Client, err = orMe(s, to, "--to"); err != nil {
					return err
				}
			}
			r.Source.Initiator, r.Timeout = source, timeout.Seconds()
			m, err := s.Prepare(cmd.Context(), r)
			if err != nil {
				return err
			}
			return c.printMigration(cmd, &m)
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "the client that has the volumes (default you)")
	f.StringVar(&to, "to", "", "the client that is to have them (default the same, on another host)")
	f.StringVar(&r.Destination.Initiator, "initiator", "", "let in only the second host's initiator of this name")
	f.StringVar(&r.Destination.Host, "host", "", "the second host's name, for people")
	f.StringVar(&source, "source-initiator", "", "where the client has a volume several times: the initiator that is to move")
	f.DurationVar(&timeout, "timeout", 0, "how long the second host may take (default the server's, 30m)")
	return cmd
}

func newMigrationList(c *cli) *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the live migrations",
		Long:    "List the live migrations that go on, and those that ended within a day, the oldest first.",
		Example: `  elstore migration list
  elstore migration list --json | jq -r '.[] | select(.alarm) | .migration_id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			if of != "" {
				id, ok := fullID(of)
				if !ok {
					return usagef("--of is %q; it is 32 hexadecimal digits, or a UUID", of)
				}
				of = id
			}
			list, err := cl.Migrations(cmd.Context(), of)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			}
			return printMigrations(c, cmd, list)
		},
	}
	cmd.Flags().StringVar(&of, "of", "", "only those from or to this client")
	return cmd
}

func printMigrations(c *cli, cmd *cobra.Command, list []client.Migration) error {
	if c.quiet {
		for _, m := range list {
			if err := printf(cmd, "%s\n", printable(m.ID)); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable(cmd.OutOrStdout(), "MIGRATION", "STATE", "WRITES", "VOLUMES", "FROM", "TO", "BEGAN (UTC)")
	for i := range list {
		m := &list[i]
		t.row(m.ID, stateOf(m), writesIn(m), strconv.Itoa(len(m.Volumes)), m.Source.Client, m.Destination.Client, minute(m.Began))
	}
	return t.end()
}

// stateOf is the state, and what somebody has to know about it.
func stateOf(m *client.Migration) string {
	switch {
	case m.Owner != "":
		return m.State + " (" + m.Owner + ")"
	case m.Alarm != "":
		return m.State + ", look after it"
	}
	return m.State
}

// writesIn is the side that may write, and whether the other one is about to.
func writesIn(m *client.Migration) string {
	if m.PenAsked {
		return m.Pen + ", asked for"
	}
	return m.Pen
}

func newMigrationShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "show MIGRATION",
		Short:   "Show a live migration",
		Long:    "Show a live migration: where it stands, who may write, and who is logged in on the second\nhost. Secrets are not shown.",
		Example: "  elstore migration show 0123456789abcdef0123456789abcdef",
		Args:    args(1, 1, "MIGRATION"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.ofMigration(cmd, given[0], func(cl *client.Client, id string) (client.Migration, error) {
				return cl.Migration(cmd.Context(), id)
			})
		},
	}
}

func newMigrationConclude(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "conclude MIGRATION",
		Short: "Leave the volumes to the second host",
		Long: `Leave the volumes to the second host: the first one's sessions are ended, and when the command
returns nothing of them can reach a volume any more. It can't be undone.

Where the first host's server does not answer it fails, and has asked that server for the
right to write, which ` + "`elstore migration list`" + ` shows: say it again to go on, or revert to take
that back.`,
		Example: "  elstore migration conclude 0123456789abcdef0123456789abcdef",
		Args:    args(1, 1, "MIGRATION"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.decideMigration(cmd, given[0], func(cl *client.Client, id string) (client.Migration, error) {
				return cl.Conclude(cmd.Context(), id, force)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where the second host is not logged in to all of them")
	return cmd
}

func newMigrationRevert(c *cli) *cobra.Command {
	var assert bool
	cmd := &cobra.Command{
		Use:   "revert MIGRATION",
		Short: "Leave the volumes to the first host",
		Long: `Leave the volumes to the first host: the second one's sessions are ended, and when the command
returns nothing of them can reach a volume any more. Once the second host has written it is
refused, unless --assert-source-running says that you know that the machine runs on the first.

What the machine had reserved for itself goes back with the volumes.`,
		Example: "  elstore migration revert 0123456789abcdef0123456789abcdef",
		Args:    args(1, 1, "MIGRATION"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.decideMigration(cmd, given[0], func(cl *client.Client, id string) (client.Migration, error) {
				return cl.Revert(cmd.Context(), id, assert)
			})
		},
	}
	cmd.Flags().BoolVar(&assert, "assert-source-running", false, "the machine runs on the first host, and what the second wrote is of no use")
	return cmd
}

func newMigrationResolve(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "resolve MIGRATION source|destination",
		Short: "Say where the machine runs, when the server can't know",
		Long: `Say of a migration that NEEDS_OPERATOR on which host the machine runs. Look there first: the
other one loses the volumes.

Where the hosts attach through two servers say it to each that asks: to one that lost its
records of the migration, or to both where one volume of several was taken over.`,
		Example:   "  elstore migration resolve 0123456789abcdef0123456789abcdef destination",
		Args:      args(2, 2, "MIGRATION source|destination"),
		ValidArgs: []string{"source", "destination"},
		RunE: func(cmd *cobra.Command, given []string) error {
			if given[1] != "source" && given[1] != "destination" {
				return usagef("%q is not source or destination", given[1])
			}
			return c.decideMigration(cmd, given[0], func(cl *client.Client, id string) (client.Migration, error) {
				return cl.Resolve(cmd.Context(), id, given[1])
			})
		},
	}
}

// ofMigration calls and prints what a migration is afterwards.
func (c *cli) ofMigration(cmd *cobra.Command, arg string, call func(cl *client.Client, id string) (client.Migration, error)) error {
	id, ok := fullID(arg)
	if !ok {
		return usagef("%q is not a migration; it is 32 hexadecimal digits, as `elstore migration list` shows them", arg)
	}
	cl, err := c.connect()
	if err != nil {
		return err
	}
	m, err := call(cl, id)
	if err != nil {
		return err
	}
	return c.printMigration(cmd, &m)
}

// decideMigration is ofMigration for what decides one: it calls again until nothing of the other side is left.
func (c *cli) decideMigration(cmd *cobra.Command, arg string, call func(cl *client.Client, id string) (client.Migration, error)) error {
	return c.ofMigration(cmd, arg, func(cl *client.Client, id string) (client.Migration, error) {
		for {
			m, err := call(cl, id)
			switch {
			case err != nil || m.Over():
				return m, err
			case m.State == "NEEDS_OPERATOR":
				return m, fmt.Errorf("the migration needs an operator now: %s; see `elstore migration resolve --help`", printable(m.Alarm))
			}
			select {
			case <-time.After(decideAgain):
			case <-cmd.Context().Done():
				return m, context.Cause(cmd.Context())
			}
		}
	})
}

// decideAgain is how long is waited before the server is asked again, which waits itself.
const decideAgain = 200 * time.Millisecond

func (c *cli) printMigration(cmd *cobra.Command, m *client.Migration) error {
	switch {
	case c.json:
		return printJSON(cmd, m)
	case c.quiet:
		return printf(cmd, "%s\n", printable(m.ID))
	}
	pairs := []string{"Migration", m.ID, "State", m.State}
	add := func(name, value string) {
		if value != "" {
			pairs = append(pairs, name, value)
		}
	}
	add("Owner", m.Owner)
	add("Writes", writesIn(m))
	add("Other server", strings.TrimSpace(m.OtherServer+" "+m.OtherHost))
	add("Alarm", m.Alarm)
	add("Waits, since", m.Waiting)
	pairs = append(pairs, "From", partyText(m.Source), "To", partyText(m.Destination), "Began", minute(m.Began))
	if m.Ended != "" {
		add("Ended", minute(m.Ended))
	} else {
		add("Deadline", minute(m.Deadline))
	}
	for i := range m.Volumes {
		v := &m.Volumes[i]
		add("Volume", v.Volume)
		add("URI", v.URI)
		for _, s := range v.Sessions {
			add("Session", fmt.Sprintf("%s from %s since %s", s.Initiator, s.Remote, minute(s.Since)))
		}
	}
	return fields(cmd.OutOrStdout(), pairs...)
}

func partyText(p client.MigrationParty) string {
	return strings.TrimSpace(strings.Join([]string{p.Client, p.Host, p.Initiator}, " "))
}

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newTokenCommand(c *cli) *cobra.Command {
	cmd := group("token", "Make, list and revoke tokens, which say who may call the server", `A token says who a caller is, and what it may do. The roles:

  reader        sees lists and records, no content and no secrets, and changes nothing
  user          does everything with its own volumes
  orchestrator  acts for every user, by naming it
  operator      all that, and runs the server: tokens, the audit log

The server keeps of a token a hash alone, so it is shown once. The first one is made before the
server asks for any: against a server without --access-control, or, while none runs, with --state
in the directory that its server will use (<root>/.elstore unless --state says another).`, "tokens")
	cmd.AddCommand(newTokenCreate(c), newTokenList(c), newTokenRevoke(c))
	return cmd
}

const stateFlagHelp = "work on this state directory of a server that does not run, not through a server"

func newTokenCreate(c *cli) *cobra.Command {
	var (
		n       client.NewToken
		expires string
		state   string
	)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and show it, this once",
		Long: `Make a token and show it. It can't be shown again; with --quiet nothing else is printed.
NAME is for people, and stands in the audit log.`,
		Example: `  elstore token create admin --role operator --state ./mnt/.elstore
  elstore token create ci --role user --expires 90d --rate 50
  elstore token create monitoring --role reader --path /pools --path /exports --quiet
  elstore token create prometheus --role orchestrator --path /metrics --quiet`,
		Args: args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			n.Name = given[0]
			if n.Expires, err = parseExpiry(expires, time.Now()); err != nil {
				return err
			}
			if n.Identity != "" {
				id, ok := fullID(n.Identity)
				if !ok {
					return usagef("--identity is %q; it is 32 hexadecimal digits, or a UUID", n.Identity)
				}
				n.Identity = id
			}
			store, end, err := c.tokens(cmd.Context(), state)
			if err != nil {
				return err
			}
			defer end()
			made, err := store.CreateToken(cmd.Context(), n)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, made)
			case c.quiet:
				return printf(cmd, "%s\n", made.Text)
			}
			return printf(cmd, "%s\nThis is token %s (%s), %s. It is not shown again.\n", made.Text, made.ID, made.Name, rights(&made))
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Role, "role", "user", "reader, user, orchestrator or operator")
	f.StringVar(&n.Identity, "identity", "", "the client that a user or reader is (default a new one)")
	f.StringVar(&expires, "expires", "", "when it ends: after 90d or 12h, or at 2027-01-31 or 2027-01-31T12:00:00Z (default never)")
	f.StringArrayVar(&n.Paths, "path", nil, "the only calls it is for, such as /info, with what is below them; may be repeated")
	f.StringArrayVar(&n.Pools, "pool", nil, "the only pools that it sees and makes volumes in; may be repeated")
	f.Float64Var(&n.Rate, "rate", 0, "how many requests a second it may send (default no limit)")
	f.StringVar(&state, "state", "", stateFlagHelp)
	completeFlag(cmd, "role", words("reader", "user", "orchestrator", "operator"))
	return cmd
}

// rights says in words what a token is for.
func rights(t *client.Token) string {
	text := "of the role " + t.Role
	if t.Identity != "" {
		text += ", for client " + t.Identity
	}
	if t.Expires != nil {
		text += ", until " + t.Expires.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return text
}

// parseExpiry reads --expires.
func parseExpiry(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // never is no error
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return &at, nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			return new(now.AddDate(0, 0, n)), nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return new(now.Add(d)), nil
	}
	return nil, usagef("--expires is %q; it is a time to come such as 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z", text)
}

func newTokenList(c *cli) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the tokens",
		Long:    "List the tokens, the oldest first, without their secrets, which nobody has but who was given them.",
		Example: "  elstore token list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, end, err := c.tokens(cmd.Context(), state)
			if err != nil {
				return err
			}
			defer end()
			list, err := store.Tokens(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, list)
			case c.quiet:
				for _, t := range list {
					if err := printf(cmd, "%s\n", t.ID); err != nil {
						return err
					}
				}
				return nil
			}
			t := newTable(cmd.OutOrStdout(), "ID", "NAME", "ROLE", "IDENTITY", "CREATED (UTC)", "EXPIRES (UTC)", "LIMITS")
			for _, one := range list {
				t.row(one.ID, one.Name, one.Role, one.Identity, one.Created.UTC().Format("2006-01-02 15:04"), expiry(&one), limits(&one))
			}
			return t.end()
		},
	}
	cmd.Flags().StringVar(&state, "state", "", stateFlagHelp)
	return cmd
}

func expiry(t *client.Token) string {
	switch {
	case t.Expires == nil:
		return "never"
	case t.Expires.Before(time.Now()):
		return "has expired"
	}
	return t.Expires.UTC().Format("2006-01-02 15:04")
}

func limits(t *client.Token) string {
	list := append([]string{}, t.Paths...)
	for _, p := range t.Pools {
		list = append(list, "pool "+p)
	}
	if t.Rate > 0 {
		list = append(list, fmt.Sprintf("%g/s", t.Rate))
	}
	return strings.Join(list, " ")
}

func newTokenRevoke(c *cli) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:     "revoke ID...",
		Short:   "Make tokens void",
		Long:    "Make tokens void, by the ids that `elstore token list` shows: from then on nobody is let in with them.",
		Example: "  elstore token revoke 0123456789abcdef",
		Args:    args(1, -1, "ID..."),
		RunE: func(cmd *cobra.Command, ids []string) error {
			store, end, err := c.tokens(cmd.Context(), state)
			if err != nil {
				return err
			}
			defer end()
			return each(cmd, ids, func(id string) error {
				if strings.HasPrefix(id, "elst_") {
					return usagef("that is a token itself, which is better not shown; its id is between the two underscores")
				}
				if err := store.RevokeToken(cmd.Context(), id); err != nil || c.quiet || c.json {
					return err
				}
				return printf(cmd, "Revoked token %s.\n", id)
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", stateFlagHelp)
	return cmd
}

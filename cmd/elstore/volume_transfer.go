package main

import (
	"github.com/spf13/cobra"

	"elstore/api/client"
)

// changing is the way of a command that changes one volume: connect, find it, do it.
func (c *cli) changing(cmd *cobra.Command, arg string, do func(s *session, id string) error) error {
	s, err := c.begin(cmd.Context())
	if err != nil {
		return err
	}
	id, err := s.volume(cmd.Context(), arg)
	if err != nil {
		return err
	}
	return do(s, id)
}

// changed prints the answer of a change.
func (c *cli) changed(cmd *cobra.Command, answer client.Echo, id, format string, args ...any) error {
	if c.json {
		return printJSON(cmd, answer)
	}
	return c.did(cmd, id, format, args...)
}

func newVolumeTransfer(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "transfer VOLUME OWNER",
		Short:             "Give a volume to another owner",
		Long:              "Give a volume to another client, which alone may change it from then on. OWNER is the client's id.",
		Example:           "  elstore volume transfer web 5e96afa52c1a53348adc5c5663978058",
		Args:              args(2, 2, "VOLUME OWNER"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			to, ok := fullID(given[1])
			if !ok {
				return usagef("OWNER is %q; it is 32 hexadecimal digits, or a UUID", given[1])
			}
			return c.changing(cmd, given[0], func(s *session, id string) error {
				answer, err := s.Transfer(cmd.Context(), id, s.me, to)
				if err != nil {
					return err
				}
				return c.changed(cmd, answer, id, "Volume %s belongs to %s now.", id, to)
			})
		},
	}
}

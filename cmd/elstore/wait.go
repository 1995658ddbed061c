package main

import (
	"context"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

// work is a long call of a command: how it is called while it goes on, and what is said of its answer.
type work[T any] struct {
	label  string
	noWait bool
	begin  func(context.Context) (*client.Operation[T], error)
	done   func(T) error // prints the answer for people
}

// run makes the call, shows how far it is, and prints the answer.
func (w work[T]) run(c *cli, cmd *cobra.Command, s *session) error {
	op, err := w.begin(cmd.Context())
	if err != nil {
		return err
	}
	if w.noWait && op.Job() != "" {
		return c.leave(cmd, s, op.Job())
	}
	b := c.newBar(cmd, w.label)
	result, err := op.Wait(cmd.Context(), b.job)
	b.end()
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd, result)
	}
	return w.done(result)
}

// leave says which job goes on.
func (c *cli) leave(cmd *cobra.Command, s *session, id string) error {
	switch {
	case c.json:
		job, err := s.Job(cmd.Context(), id)
		if err != nil {
			return err
		}
		return printJSON(cmd, job)
	case c.quiet:
		return printf(cmd, "%s\n", id)
	}
	return printf(cmd, "Job %s goes on in the server; follow it with `elstore job wait %s`.\n", id, id)
}

// noWaitFlag adds --no-wait.
func noWaitFlag(cmd *cobra.Command, noWait *bool) {
	cmd.Flags().BoolVar(noWait, "no-wait", false, "print the job that does the work, and leave it to the server")
}

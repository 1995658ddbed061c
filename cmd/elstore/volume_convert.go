package main

import (
	"context"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeConvert(c *cli) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "convert VOLUME FORMAT",
		Short: "Change how a volume is stored",
		Long: `Change a volume's format to raw or qcow2. What machines see of it stays the same. Nobody may
use it meanwhile; until the end it is as it was.`,
		Example:           "  elstore volume convert web qcow2",
		Args:              args(2, 2, "VOLUME FORMAT"),
		ValidArgsFunction: c.complete(volumes, 1, formatWords),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				return work[client.Echo]{
					label: "convert", noWait: noWait,
					begin: func(ctx context.Context) (*client.Operation[client.Echo], error) {
						return s.Convert(ctx, id, s.me, given[1])
					},
					done: func(client.Echo) error { return c.did(cmd, id, "Volume %s is %s now.", id, printable(given[1])) },
				}.run(c, cmd, s)
			})
		},
	}
	noWaitFlag(cmd, &noWait)
	return cmd
}

func newVolumeCompact(c *cli) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "compact VOLUME",
		Short: "Make an overlay, or a clone on Ceph, stand alone",
		Long: `Copy what an overlay volume needs of its base image, or a clone on Ceph of its parent, into the
volume, so that it stands alone.
A volume that does already stays as it is.`,
		Example:           "  elstore volume compact web",
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				return work[client.Echo]{
					label: "compact", noWait: noWait,
					begin: func(ctx context.Context) (*client.Operation[client.Echo], error) { return s.Compact(ctx, id, s.me) },
					done:  func(client.Echo) error { return c.did(cmd, id, "Volume %s stands alone now.", id) },
				}.run(c, cmd, s)
			})
		},
	}
	noWaitFlag(cmd, &noWait)
	return cmd
}

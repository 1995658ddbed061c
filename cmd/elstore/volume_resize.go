package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeResize(c *cli) *cobra.Command {
	var (
		shrink, noWait bool
		prealloc       string
	)
	cmd := &cobra.Command{
		Use:        "resize VOLUME SIZE",
		SuggestFor: []string{"grow", "extend", "expand", "shrink"},
		Short:      "Make a volume larger, or smaller",
		Long: `Give a volume another size. It grows at any time, also while machines use it. A smaller size
cuts off what lies beyond, so it wants --shrink, and a volume that nobody uses.

SIZE is like 10G, 10Gi, 1.5T or a bare number of GB: see ` + "`elstore help sizes`" + `. With a + before it,
it is added to the size that the volume has.`,
		Example: `  elstore volume resize web 20G
  elstore volume resize web +5G
  elstore volume resize web 5G --shrink`,
		Args:              args(2, 2, "VOLUME SIZE"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			text, more := strings.CutPrefix(given[1], "+")
			size, err := parseSize(text)
			if err != nil {
				return err
			}
			return c.changing(cmd, given[0], func(s *session, id string) error {
				if more {
					v, err := s.Info(cmd.Context(), id)
					if err != nil {
						return err
					}
					size += client.Size(v.Size)
				}
				r := client.ResizeRequest{ID: id, Creator: s.me, Size: size, Shrink: shrink, Preallocation: prealloc}
				return work[client.Echo]{
					label: "resize", noWait: noWait,
					begin: func(ctx context.Context) (*client.Operation[client.Echo], error) { return s.Resize(ctx, r) },
					done: func(client.Echo) error {
						return c.did(cmd, id, "Volume %s has %s now.", id, exactSize(int64(size)))
					},
				}.run(c, cmd, s)
			})
		},
	}
	cmd.Flags().BoolVar(&shrink, "shrink", false, "a smaller size is meant: what lies beyond it is lost")
	cmd.Flags().StringVar(&prealloc, "preallocation", "", "storage taken at once for what is added: off, metadata, falloc or full (default off)")
	completeFlag(cmd, "preallocation", preallocWords)
	noWaitFlag(cmd, &noWait)
	return cmd
}

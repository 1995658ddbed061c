package main

import (
	"context"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeClone(c *cli) *cobra.Command {
	var (
		r       client.CloneRequest
		private bool
		creator string
		noWait  bool
	)
	cmd := &cobra.Command{
		Use:        "clone VOLUME NAME",
		SuggestFor: []string{"copy", "cp", "duplicate"},
		Short:      "Make a volume with the content of another",
		Long: `Make a volume with the content that another one has now. Where the file system can share
blocks that takes no time and no room; else the data is copied, by the volume's alg.

A volume that machines use is cloned as it is at one moment, if its file system can share blocks.`,
		Example: `  elstore volume clone web web-test
  elstore volume clone golden node1 --pool fast --private`,
		Args:              args(2, 2, "VOLUME NAME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) (err error) {
				r.ID, r.Name = id, given[1]
				if r.Creator, err = s.creatorOr(creator); err != nil {
					return err
				}
				if cmd.Flags().Changed("private") {
					r.Private = &private
				}
				return work[client.Created]{
					label: "clone", noWait: noWait,
					begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.Clone(ctx, r) },
					done:  func(v client.Created) error { return c.made(cmd, "Cloned into", v) },
				}.run(c, cmd, s)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Pool, "pool", "", "pool to put it in (default where it shares blocks, else the one with most room)")
	f.StringVar(&r.Alg, "alg", "", "how the clone's own clones are copied: cp, rsync, rclone or no (default as the volume)")
	f.BoolVar(&private, "private", false, "only its owner sees it (default as the volume)")
	creatorFlag(cmd, &creator)
	keyFlag(cmd, &r.Key)
	noWaitFlag(cmd, &noWait)
	completeFlag(cmd, "pool", c.complete(pools, -1))
	completeFlag(cmd, "alg", algWords)
	completeFlag(cmd, "private", boolWords)
	return cmd
}

func newVolumeImport(c *cli) *cobra.Command {
	var (
		r       client.ImportRequest
		attrs   attributes
		creator string
		noWait  bool
	)
	cmd := &cobra.Command{
		Use:   "import NAME (--path FILE | --url URL)",
		Short: "Make a volume of an image",
		Long: `Make a volume of a raw, qcow2, vmdk, vdi, vhd or vhdx image, as large as the image.

--path is a file on the server, under a directory that its configuration allows. --overlay
keeps the image as an immutable base in the pool and the volume as what differs from it.`,
		Example: `  elstore volume import debian --url https://example.org/debian-12.qcow2 --format qcow2 --bootable
  elstore volume import old --path /srv/images/old.vmdk
  elstore volume import node1 --path /srv/images/golden.qcow2 --overlay`,
		Args:              args(1, 1, "NAME"),
		ValidArgsFunction: words(),
		RunE: func(cmd *cobra.Command, given []string) error {
			if (r.Path == "") == (r.URL == "") {
				return usagef("an import needs either --path or --url")
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if r.Creator, err = s.creatorOr(creator); err != nil {
				return err
			}
			r.Name, r.Attributes = given[0], attrs.given(cmd)
			return work[client.Created]{
				label: "import " + printable(r.Name), noWait: noWait,
				begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.Import(ctx, r) },
				done:  func(v client.Created) error { return c.made(cmd, "Imported into", v) },
			}.run(c, cmd, s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Path, "path", "", "image on the server")
	f.StringVar(&r.URL, "url", "", "image that the server fetches")
	f.StringVar(&r.Checksum, "checksum", "", "what the image must sum up to, such as sha256:<hexadecimal>")
	f.StringVar(&r.Source, "source-format", "", sourceFormatHelp)
	f.BoolVar(&r.Overlay, "overlay", false, "keep the image as an immutable base, and the volume as what differs")
	completeFlag(cmd, "source-format", imageWords)
	attrs.add(c, cmd)
	creatorFlag(cmd, &creator)
	keyFlag(cmd, &r.Key)
	noWaitFlag(cmd, &noWait)
	return cmd
}

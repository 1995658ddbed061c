package main

import (
	"context"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeCreate(c *cli) *cobra.Command {
	var (
		attrs         attributes
		r             client.CreateRequest
		size, creator string
		noWait        bool
	)
	cmd := &cobra.Command{
		Use:        "create NAME... --size SIZE",
		SuggestFor: []string{"add", "new", "make"},
		Short:      "Make volumes",
		Long: `Make a volume, empty or with the image that a URL names. Several names make several volumes
of the same kind, all or none.

SIZE is like 10G, 10Gi, 1.5T or a bare number of GB: see ` + "`elstore help sizes`" + `. With --url
it may be left out: then the volume is as large as the image.`,
		Example: `  elstore volume create web --size 10G
  elstore volume create db --size 1.5T --format qcow2 --pool fast --private
  elstore volume create node1 node2 node3 --size 20Gi --bootable
  elstore volume create debian --url https://example.org/debian.qcow2 --format qcow2
  id=$(elstore -q volume create scratch --size 500M)`,
		Args:              args(1, -1, "NAME"),
		ValidArgsFunction: words(),
		RunE: func(cmd *cobra.Command, names []string) error {
			r.Attributes = attrs.given(cmd)
			switch {
			case size == "" && r.URL == "":
				return usagef("--size is missing; it is like 10G, 10Gi, 1.5T or a number of GB")
			case r.URL != "" && len(names) > 1:
				return usagef("one image makes one volume; clone it to have several")
			case r.URL == "" && r.Checksum+r.Source != "":
				return usagef("--checksum and --source-format are of the image that --url names")
			case size != "":
				n, err := parseSize(size)
				if err != nil {
					return err
				}
				r.Size = n
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if r.Creator, err = s.creatorOr(creator); err != nil {
				return err
			}
			if len(names) == 1 {
				r.Name = names[0]
				return work[client.Created]{
					label: "create " + printable(r.Name), noWait: noWait,
					begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.Create(ctx, r) },
					done:  func(v client.Created) error { return c.made(cmd, "Created", v) },
				}.run(c, cmd, s)
			}
			return createMany(c, cmd, s, r, names, noWait)
		},
	}
	f := cmd.Flags()
	f.StringVar(&size, "size", "", "size, like 10G or 10Gi; a bare number is GB")
	f.StringVar(&r.URL, "url", "", "image that the server fetches into the volume")
	f.StringVar(&r.Checksum, "checksum", "", "what that image must sum up to, such as sha256:<hexadecimal>")
	f.StringVar(&r.Source, "source-format", "", sourceFormatHelp)
	attrs.add(c, cmd)
	creatorFlag(cmd, &creator)
	keyFlag(cmd, &r.Key)
	noWaitFlag(cmd, &noWait)
	completeFlag(cmd, "size", words())
	completeFlag(cmd, "source-format", imageWords)
	return cmd
}

const sourceFormatHelp = "format of the image: raw, qcow2, vmdk, vdi, vhd or vhdx (default what it tells itself)"

// createMany makes a volume for every name.
func createMany(c *cli, cmd *cobra.Command, s *session, r client.CreateRequest, names []string, noWait bool) error {
	list := make([]client.CreateRequest, len(names))
	for i, name := range names {
		list[i] = r
		list[i].Name = name
	}
	return work[[]client.Created]{
		label: "create", noWait: noWait,
		begin: func(ctx context.Context) (*client.Operation[[]client.Created], error) {
			return s.CreateMany(ctx, list, r.Key)
		},
		done: func(made []client.Created) error {
			for _, v := range made {
				if err := c.made(cmd, "Created", v); err != nil {
					return err
				}
			}
			return nil
		},
	}.run(c, cmd, s)
}

// keyFlag adds --idempotency-key.
func keyFlag(cmd *cobra.Command, key *string) {
	cmd.Flags().StringVar(key, "idempotency-key", "", "the same command with the same key makes nothing twice, within a day")
}

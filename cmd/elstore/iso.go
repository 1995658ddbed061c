package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
	"elstore/volume/fault"
)

func newISOCommand(c *cli) *cobra.Command {
	cmd := group("iso", "Keep ISO images, and look into them", `An ISO volume holds an installer, a live system or drivers. It is read-only, and many machines
can use it at once.`)
	cmd.AddCommand(newISOCreate(c), newISOImport(c), newISOShow(c), newISOList(c), newISOCat(c))
	return cmd
}

// isoFlags are the flags of a new ISO volume.
type isoFlags struct {
	client.ISORequest

	private bool
	creator string
}

func (i *isoFlags) add(c *cli, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&i.Type, "type", "os_generic", "os_generic for what machines boot from, or tool")
	f.StringVar(&i.OSFamily, "os-family", "", "linux, windows… (default what the image tells)")
	f.StringVar(&i.OSFlavour, "os-flavour", "", "debian, ubuntu… (default what the image tells)")
	f.StringVar(&i.OSVersion, "os-version", "", "12.9… (default what the image tells)")
	f.StringVar(&i.Scope, "tool-scope", "", "what a tool is for, such as drivers")
	f.StringVar(&i.Version, "tool-version", "", "version of a tool")
	f.StringVar(&i.Pool, "pool", "", "pool to put it in (default the one with most room)")
	f.BoolVar(&i.private, "private", false, "only its owner sees it")
	creatorFlag(cmd, &i.creator)
	keyFlag(cmd, &i.Key)
	completeFlag(cmd, "type", words("os_generic", "tool"))
	completeFlag(cmd, "pool", c.complete(pools, -1))
	completeFlag(cmd, "private", boolWords)
}

// request is the wish of the command line.
func (i *isoFlags) request(cmd *cobra.Command, s *session, name string) (r client.ISORequest, err error) {
	r = i.ISORequest
	r.Name = name
	if cmd.Flags().Changed("private") {
		r.Private = &i.private
	}
	r.Creator, err = s.creatorOr(i.creator)
	return r, err
}

func newISOCreate(c *cli) *cobra.Command {
	var (
		flags isoFlags
		size  string
	)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an ISO volume whose image comes later",
		Long: `Make an ISO volume that waits for its image: ` + "`elstore volume upload`" + ` sends one, once.
To make a volume of an image at once, use ` + "`elstore iso import`" + `.`,
		Example: `  elstore iso create debian
  elstore iso create virtio-win --type tool --os-family windows --tool-scope drivers`,
		Args:              args(1, 1, "NAME"),
		ValidArgsFunction: words(),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			r, err := flags.request(cmd, s, given[0])
			if err != nil {
				return err
			}
			if size != "" {
				if r.Size, err = parseSize(size); err != nil {
					return err
				}
			}
			return work[client.Created]{
				label: "create " + printable(r.Name),
				begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.CreateISO(ctx, r) },
				done:  func(v client.Created) error { return c.made(cmd, "Created ISO", v) },
			}.run(c, cmd, s)
		},
	}
	flags.add(c, cmd)
	cmd.Flags().StringVar(&size, "size", "", "size that it has until the image comes, like 4G")
	completeFlag(cmd, "size", words())
	return cmd
}

func newISOImport(c *cli) *cobra.Command {
	var (
		flags  isoFlags
		onHost bool
		noWait bool
	)
	cmd := &cobra.Command{
		Use:   "import NAME (FILE | URL)",
		Short: "Make an ISO volume of an image",
		Long: `Make an ISO volume of a file here, which is sent to the server, or of what a URL names, which the
server fetches. What is not a whole ISO 9660 or UDF image is refused. Which system is on it
is found out where no flag says it.`,
		Example: `  elstore iso import debian debian-12.9.0-amd64-netinst.iso
  elstore iso import debian https://example.org/debian.iso --checksum sha256:9f86d081884c7d65…
  elstore iso import virtio-win virtio-win.iso --type tool --os-family windows
  elstore iso import old /srv/images/old.iso --on-server`,
		Args:              args(2, 2, "NAME FILE"),
		ValidArgsFunction: c.complete(nothing, 1, files),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			r, err := flags.request(cmd, s, given[0])
			if err != nil {
				return err
			}
			switch {
			case onHost:
				r.Path = given[1]
			case strings.Contains(given[1], "://"):
				r.URL = given[1]
			default:
				return sendISO(c, cmd, s, r, given[1])
			}
			return work[client.Created]{
				label: "import " + printable(r.Name), noWait: noWait,
				begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.CreateISO(ctx, r) },
				done:  func(v client.Created) error { return c.made(cmd, "Imported into ISO", v) },
			}.run(c, cmd, s)
		},
	}
	flags.add(c, cmd)
	cmd.Flags().StringVar(&flags.Checksum, "checksum", "", "what the image of a URL must sum up to, such as sha256:<hexadecimal>")
	cmd.Flags().BoolVar(&onHost, "on-server", false, "FILE is on the server, under a directory that its configuration allows")
	noWaitFlag(cmd, &noWait)
	return cmd
}

// nothing completes an argument that nobody can guess.
func nothing(context.Context, *session, string) ([]cobra.Completion, error) { return nil, nil }

// sendISO makes a volume and sends the image into it. A volume whose image is refused goes again.
func sendISO(c *cli, cmd *cobra.Command, s *session, r client.ISORequest, path string) error {
	if r.Checksum != "" {
		return usagef("--checksum is for an image that the server fetches; what is sent is proven anyway")
	}
	file, err := os.Open(path) //nolint:gosec // the user's own file
	if err != nil {
		return &usageError{err}
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return usagef("%s can't be sent: it is no file and no disk", path)
	}
	op, err := s.CreateISO(cmd.Context(), r)
	if err != nil {
		return err
	}
	v, err := op.Wait(cmd.Context(), nil)
	if err != nil {
		return err
	}
	b := c.newBar(cmd, "upload")
	err = s.Upload(cmd.Context(), client.UploadRequest{ID: v.ID, By: r.Creator, Source: file, Size: size, Bytes: b.bytes, Job: b.job})
	b.end()
	switch {
	case fault.KindOf(err) == fault.Invalid && err != nil:
		_, _ = s.Destroy(context.WithoutCancel(cmd.Context()), client.DestroyRequest{ID: v.ID, Creator: r.Creator, Purge: true})
		return err
	case err != nil:
		return resumable(err)
	case c.json:
		return printJSON(cmd, v)
	}
	return c.made(cmd, "Imported into ISO", v)
}

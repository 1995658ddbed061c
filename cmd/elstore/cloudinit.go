package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
	"elstore/cloudinit"
)

func newCloudInitCommand(c *cli) *cobra.Command {
	cmd := group("cloudinit", "Make machines that configure themselves", `A cloud image becomes a machine with a seed: a small volume with the files user-data, meta-data and
network-config, which cloud-init in the image reads at the first boot.`)
	cmd.AddCommand(
		newCloudInitImage(c), newCloudInitSeed(c), newCloudInitShow(c), newCloudInitEdit(c), newCloudInitRender(c), newCloudInitCheck(),
	)
	return cmd
}

func newCloudInitImage(c *cli) *cobra.Command {
	var (
		attrs               attributes
		r                   client.MachineRequest
		size, creator, seed string
		noWait              bool
	)
	cmd := &cobra.Command{
		Use:   "image NAME URL",
		Short: "Make the volume that a machine boots from, of a cloud image",
		Long: `The server fetches the image and proves it by --checksum, or by SHA256SUMS or SHA512SUMS where
one stands beside it; then it converts it to --format and grows it to --size. With --overlay the
pool keeps the image, and further machines of the same image are made at once.

--seed is a file with the short form of a seed, as JSON: see ` + "`elstore cloudinit render --help`" + `.`,
		Example: `  elstore cloudinit image web1 https://example.org/debian-12.qcow2 --size 20G --overlay
  elstore cloudinit image db1 https://example.org/image.qcow2 --size 50G --format raw --seed db1.json`,
		Args:              args(2, 2, "NAME URL"),
		ValidArgsFunction: words(),
		RunE: func(cmd *cobra.Command, given []string) error {
			r.Attributes = attrs.given(cmd)
			r.Name, r.URL = given[0], given[1]
			var err error
			if size != "" {
				if r.Size, err = parseSize(size); err != nil {
					return err
				}
			}
			if seed != "" {
				if r.Seed, err = readForm(cmd, seed); err != nil {
					return err
				}
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if r.Creator, err = s.creatorOr(creator); err != nil {
				return err
			}
			return work[client.Created]{
				label: "image " + printable(r.Name), noWait: noWait,
				begin: func(ctx context.Context) (*client.Operation[client.Created], error) { return s.CreateMachine(ctx, r) },
				done:  func(v client.Created) error { return c.made(cmd, "Created", v) },
			}.run(c, cmd, s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&size, "size", "", "size, like 20G (default the image's)")
	f.StringVar(&r.Checksum, "checksum", "", "what the image must sum up to, such as sha256:<hexadecimal>")
	f.StringVar(&r.Source, "source-format", "", sourceFormatHelp)
	f.BoolVar(&r.Overlay, "overlay", false, "keep the image as an immutable base, and the volume as what differs")
	f.StringVar(&seed, "seed", "", "file with the short form of a seed that is made too")
	attrs.add(c, cmd)
	creatorFlag(cmd, &creator)
	keyFlag(cmd, &r.Key)
	noWaitFlag(cmd, &noWait)
	completeFlag(cmd, "size", words())
	completeFlag(cmd, "source-format", imageWords)
	return cmd
}

func newCloudInitSeed(c *cli) *cobra.Command {
	var (
		r       client.SeedRequest
		private bool
		creator string
	)
	cmd := &cobra.Command{
		Use:   "seed NAME FILE...",
		Short: "Make a seed of its files",
		Long: `Make a seed of files, which keep their names: user-data, meta-data, network-config (or network-data),
vendor-data, and any others. At least two are needed. Each is checked before it is taken.`,
		Example:           "  elstore cloudinit seed web1-seed user-data meta-data network-config",
		Args:              args(3, -1, "NAME FILE FILE"),
		ValidArgsFunction: c.complete(nothing, 1, files, files, files, files),
		RunE: func(cmd *cobra.Command, given []string) error {
			r.Name, r.Expected = given[0], len(given)-1
			contents, err := readSeedFiles(given[1:])
			if err != nil {
				return err
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if r.Creator, err = s.creatorOr(creator); err != nil {
				return err
			}
			if cmd.Flags().Changed("private") {
				r.Private = &private
			}
			var st client.Seed
			for i, path := range given[1:] {
				if i == 0 {
					st, err = s.BeginSeed(cmd.Context(), r, filepath.Base(path), contents[i])
				} else {
					st, err = s.AddSeedFile(cmd.Context(), st.ID, r.Creator, filepath.Base(path), contents[i])
				}
				if err != nil {
					return err
				}
			}
			if c.json {
				return printJSON(cmd, st)
			}
			return c.did(cmd, st.ID, "Created seed %s (%s).", st.ID, printable(r.Name))
		},
	}
	cmd.Flags().StringVar(&r.Pool, "pool", "", "pool to put it in (default the one with most room)")
	cmd.Flags().BoolVar(&private, "private", false, "only its owner sees it")
	creatorFlag(cmd, &creator)
	completeFlag(cmd, "pool", c.complete(pools, -1))
	completeFlag(cmd, "private", boolWords)
	return cmd
}

// readSeedFiles reads files and checks each, and that no two have one name.
func readSeedFiles(paths []string) ([][]byte, error) {
	seen := map[string]bool{}
	contents := make([][]byte, len(paths))
	for i, path := range paths {
		name := filepath.Base(path)
		if seen[name] {
			return nil, usagef("two files are called %s", name)
		}
		seen[name] = true
		data, err := os.ReadFile(path) //nolint:gosec // the user's own file
		if err != nil {
			return nil, &usageError{err}
		}
		if err := cloudinit.Check(name, data); err != nil {
			return nil, err
		}
		contents[i] = data
	}
	return contents, nil
}

// readForm reads a JSON file, "-" is the standard input.
func readForm(cmd *cobra.Command, path string) (json.RawMessage, error) {
	data, err := readInput(cmd, path)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, usagef("%s is not JSON", path)
	}
	return data, nil
}

// readInput reads a file, "-" is the standard input.
func readInput(cmd *cobra.Command, path string) (data []byte, err error) {
	if path == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	if data, err = os.ReadFile(path); err != nil { //nolint:gosec // the user's own file
		return nil, &usageError{err}
	}
	return data, nil
}

func newCloudInitRender(c *cli) *cobra.Command {
	var r client.RenderRequest
	cmd := &cobra.Command{
		Use:   "render FORM",
		Short: "Make the files of a seed from a short form",
		Long: `FORM is a JSON file ("-" is the standard input) with any of the keys hostname, fqdn, timezone, users,
ssh_keys, packages, package_update, files, run and network. The files that cloud-init would get are
printed; with --name a seed is made of them.`,
		Example: `  echo '{"hostname": "web1", "packages": ["nginx"], "network": {"dhcp": true}}' | elstore cloudinit render -
  elstore cloudinit render web1.json --name web1-seed`,
		Args:              args(1, 1, "FORM"),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, given []string) error {
			var err error
			if r.Seed, err = readForm(cmd, given[0]); err != nil {
				return err
			}
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			if r.Name != "" {
				r.Creator = s.me
			}
			made, err := s.Render(cmd.Context(), r)
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, made)
			case made.ID != "":
				return c.did(cmd, made.ID, "Created seed %s (%s).", made.ID, printable(made.Name))
			}
			for _, name := range slices.Sorted(maps.Keys(made.Files)) {
				if err := printf(cmd, "# %s\n%s\n", name, made.Files[name]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&r.Name, "name", "", "make a seed of this name")
	cmd.Flags().StringVar(&r.Pool, "pool", "", "pool to put it in (default the one with most room)")
	completeFlag(cmd, "name", words())
	completeFlag(cmd, "pool", c.complete(pools, -1))
	return cmd
}

func newCloudInitCheck() *cobra.Command {
	schema := cloudinit.FindSchema()
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check the files of a seed",
		Long: `Check files as the server would before it takes them, without a server. What is wrong is named with its
line and with what was expected. A file's name says what it is: user-data, meta-data, network-config,
network-data or vendor-data. Where cloud-init is installed its own schema is used, too.`,
		Example:           "  elstore cloudinit check user-data meta-data network-config",
		Args:              args(1, -1, "FILE"),
		ValidArgsFunction: files,
		RunE: func(cmd *cobra.Command, given []string) error {
			return each(cmd, given, func(path string) error {
				if name := filepath.Base(path); !slices.Contains(cloudinit.Names(), name) {
					return usagef("cloud-init reads no file named %s, so it may hold anything; those to check are named %s",
						printable(name), strings.Join(cloudinit.Names(), ", "))
				}
				data, err := os.ReadFile(path) //nolint:gosec // the user's own file
				if err != nil {
					return &usageError{err}
				}
				name := filepath.Base(path)
				if err := cloudinit.Check(name, data); err != nil {
					return err
				}
				if err := schema.Check(cmd.Context(), name, data); err != nil {
					return err
				}
				return printf(cmd, "%s is good.\n", printable(path))
			})
		},
	}
}

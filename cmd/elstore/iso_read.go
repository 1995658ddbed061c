package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newISOShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "show VOLUME",
		Short:             "Say what an ISO image is",
		Long:              "Say what the image of an ISO volume tells of itself, and what firmware can boot from it.",
		Example:           "  elstore iso show debian",
		Args:              args(1, 1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				im, err := s.ISOFiles(cmd.Context(), id, s.me, "", true)
				if err != nil {
					return err
				}
				if c.json {
					return printJSON(cmd, im)
				}
				return showISO(cmd, im)
			})
		},
	}
}

func showISO(cmd *cobra.Command, im client.ISOImage) error {
	var kinds, boots []string
	for _, kind := range []struct {
		name string
		is   bool
	}{{"Rock Ridge", im.RockRidge}, {"Joliet", im.Joliet}, {"UDF", im.UDF}} {
		if kind.is {
			kinds = append(kinds, kind.name)
		}
	}
	for _, b := range im.Boot {
		if b.Bootable {
			boots = append(boots, b.Platform)
		}
	}
	return fields(
		cmd.OutOrStdout(), "ID", im.ID, "Label", im.Label, "Size", humanSize(im.Size), "Made by", im.Application, "Publisher", im.Publisher,
		"Kinds", strings.Join(kinds, ", "), "Boots with", strings.Join(boots, ", "), "Files", fmt.Sprint(len(im.Files)),
	)
}

func newISOList(c *cli) *cobra.Command {
	var deep bool
	cmd := &cobra.Command{
		Use:   "ls VOLUME [DIRECTORY]",
		Short: "List the files in an ISO image",
		Long:  "List what is in a directory of an ISO volume's image. Nothing is mounted, and machines may use\nthe volume meanwhile.",
		Example: `  elstore iso ls debian
  elstore iso ls debian install.amd
  elstore iso ls debian --recursive`,
		Args:              args(1, 2, "VOLUME DIRECTORY"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				dir := ""
				if len(given) == 2 {
					dir = given[1]
				}
				im, err := s.ISOFiles(cmd.Context(), id, s.me, dir, deep)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, im.Files)
				}
				t := newTable(cmd.OutOrStdout(), "SIZE", "PATH")
				for _, f := range im.Files {
					switch f.Type {
					case "dir":
						t.row("", f.Path+"/")
					case "link":
						t.row("", f.Path+" -> "+f.Link)
					default:
						t.row(humanSize(f.Size), f.Path)
					}
				}
				return t.end()
			})
		},
	}
	cmd.Flags().BoolVarP(&deep, "recursive", "r", false, "all that is below, too")
	return cmd
}

func newISOCat(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "cat VOLUME PATH",
		Short:             "Write a file of an ISO image to the standard output",
		Long:              "Write a file out of an ISO volume's image to the standard output, such as a kernel to boot\nfrom the network.",
		Example:           "  elstore iso cat debian install.amd/vmlinuz | sha256sum",
		Args:              args(2, 2, "VOLUME PATH"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				_, err := s.ISOFileTo(cmd.Context(), id, s.me, given[1], cmd.OutOrStdout())
				return err
			})
		},
	}
}

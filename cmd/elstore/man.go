package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIRECTORY",
		Short:   "Write the manual pages",
		Long:    "Write a manual page for every command into a directory: elstore.1, elstore-serve.1 and so on.\nPackages have them already.",
		Example: "  elstore man ~/.local/share/man/man1",
		Args:    args(1, 1, "DIRECTORY"),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := os.MkdirAll(given[0], 0o755); err != nil { //nolint:gosec // for all to read
				return err
			}
			root := newRootCommand()
			root.DisableAutoGenTag = true
			// The pages are the same whenever they are made.
			return doc.GenManTree(root, &doc.GenManHeader{Title: "ELSTORE", Section: "1", Source: "elstore", Date: new(time.Unix(0, 0).UTC())}, given[0])
		},
	}
}

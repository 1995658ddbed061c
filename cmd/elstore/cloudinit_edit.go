package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
	"elstore/cloudinit"
	"elstore/volume/fault"
)

func newCloudInitShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show VOLUME [FILE]",
		Short: "Show a seed, or one of its files",
		Long:  "Show how far a seed is and which files it has; with FILE, write that file to the standard output.",
		Example: `  elstore cloudinit show web1-seed
  elstore cloudinit show web1-seed user-data`,
		Args:              args(1, 2, "VOLUME FILE"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.changing(cmd, given[0], func(s *session, id string) error {
				if len(given) == 2 {
					data, err := s.SeedFile(cmd.Context(), id, s.me, given[1])
					if err != nil {
						return err
					}
					_, err = cmd.OutOrStdout().Write(data)
					return err
				}
				st, err := s.Seed(cmd.Context(), id, s.me)
				switch {
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, st)
				}
				return showSeed(cmd, st)
			})
		},
	}
}

func showSeed(cmd *cobra.Command, st client.Seed) error {
	state := "complete"
	if !st.Complete {
		state = fmt.Sprintf("waits for %d of %s", st.Missing, counted(int64(st.Expected), "file"))
	}
	err := fields(cmd.OutOrStdout(), "ID", st.ID, "State", state, "Instance", st.Instance, "Used by", strings.Join(st.Exports, ", "))
	if err != nil {
		return err
	}
	t := newTable(cmd.OutOrStdout(), "SIZE", "FILE")
	for _, f := range st.Files {
		t.row(humanSize(f.Size), f.Name)
	}
	return t.end()
}

func newCloudInitEdit(c *cli) *cobra.Command {
	var (
		from   string
		remove bool
	)
	cmd := &cobra.Command{
		Use:   "edit VOLUME FILE",
		Short: "Change a file of a seed",
		Long: `Open a file of a seed in $EDITOR, or take another from --from, and build the seed anew. The machine
applies the change at its next boot: its instance-id is another. That can't be done while the seed
is exported.`,
		Example: `  elstore cloudinit edit web1-seed user-data
  elstore cloudinit edit web1-seed user-data --from new-user-data
  elstore cloudinit edit web1-seed script.sh --remove`,
		Args:              args(2, 2, "VOLUME FILE"),
		ValidArgsFunction: c.complete(volumes, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			if remove && from != "" {
				return usagef("--remove and --from exclude each other")
			}
			return c.changing(cmd, given[0], func(s *session, id string) error {
				st, err := editSeed(cmd, s, id, given[1], from, remove)
				switch {
				case errors.Is(err, errUnchanged):
					return c.did(cmd, id, "Nothing was changed.")
				case err != nil:
					return err
				case c.json:
					return printJSON(cmd, st)
				}
				return c.did(cmd, id, "Changed seed %s; its instance-id is %s.", id, printable(st.Instance))
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", `file that takes the place of FILE; "-" is the standard input`)
	cmd.Flags().BoolVar(&remove, "remove", false, "remove FILE")
	completeFlag(cmd, "from", files)
	completeFlag(cmd, "remove", boolWords)
	return cmd
}

var errUnchanged = errors.New("nothing was changed")

func editSeed(cmd *cobra.Command, s *session, id, name, from string, remove bool) (client.Seed, error) {
	if remove {
		return s.DeleteSeedFile(cmd.Context(), id, s.me, name)
	}
	var data []byte
	var err error
	if from != "" {
		data, err = readInput(cmd, from)
	} else {
		data, err = inEditor(cmd, s, id, name)
	}
	if err != nil {
		return client.Seed{}, err
	}
	if err := cloudinit.Check(name, data); err != nil {
		return client.Seed{}, err
	}
	return s.PutSeedFile(cmd.Context(), id, s.me, name, data)
}

// inEditor lets the user edit a file of a seed, in a directory that nobody else can read.
func inEditor(cmd *cobra.Command, s *session, id, name string) ([]byte, error) {
	old, err := s.SeedFile(cmd.Context(), id, s.me, name)
	if err != nil && !fault.Is(err, fault.NoSuchPath) {
		return nil, err
	}
	editor := os.Getenv("EDITOR")
	if editor == "" {
		editor = "vi"
	}
	dir, err := os.MkdirTemp("", "elstore-edit-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory of our own
	file := filepath.Join(dir, filepath.Base(name))
	if err := os.WriteFile(file, old, 0o600); err != nil {
		return nil, err
	}
	// The user's own command, which may have arguments.
	words := strings.Fields(editor)
	run := exec.CommandContext(context.WithoutCancel(cmd.Context()), words[0], append(words[1:], file)...) //nolint:gosec // the user's
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := run.Run(); err != nil {
		return nil, usagef("the editor %s failed: %v", words[0], err)
	}
	data, err := os.ReadFile(file) //nolint:gosec // made above
	if err == nil && bytes.Equal(data, old) {
		err = errUnchanged
	}
	return data, err
}

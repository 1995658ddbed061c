package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

func newVolumeDestroy(c *cli) *cobra.Command {
	var purge, yes bool
	cmd := &cobra.Command{
		Use:        "destroy VOLUME...",
		SuggestFor: []string{"remove", "del"},
		Aliases:    []string{"rm", "delete"},
		Short:      "Put volumes into the bin, or remove them for good",
		Long: `Put volumes into their pools' bins, from where ` + "`elstore volume restore`" + ` brings them back until
the pool's retention ends. With --purge they are gone for good, also those that lie in a bin:
on a terminal that is asked about first, unless --yes says so.

A whole id that is not there is destroyed already, which is no failure.`,
		Example: `  elstore volume destroy web
  elstore volume destroy web db --purge --yes`,
		Args:              args(1, -1, "VOLUME"),
		ValidArgsFunction: c.complete(volumes, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			ids := make(map[string]string, len(given))
			for _, arg := range given { // before anything is destroyed
				if ids[arg], err = s.doomed(cmd, arg, purge); err != nil {
					return err
				}
			}
			if purge && !yes {
				if err := confirm(cmd, fmt.Sprintf("Remove %s for good?", strings.Join(given, ", "))); err != nil {
					return err
				}
			}
			return each(cmd, given, func(arg string) error {
				id := ids[arg]
				answer, err := s.Destroy(cmd.Context(), client.DestroyRequest{ID: id, Creator: s.me, Purge: purge})
				if err != nil {
					return err
				}
				if purge {
					return c.changed(cmd, answer, id, "Removed volume %s.", id)
				}
				return c.changed(cmd, answer, id, "Destroyed volume %s.", id)
			})
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "for good, not into the bin")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// doomed finds the volume to destroy; one that is to be purged may lie in a bin.
func (s *session) doomed(cmd *cobra.Command, arg string, purge bool) (string, error) {
	id, err := s.volume(cmd.Context(), arg)
	if _, missing := err.(*notFoundError); missing && purge { //nolint:errorlint // it was made two lines above, unwrapped
		return s.trashed(cmd.Context(), arg)
	}
	return id, err
}

// confirm asks on a terminal, and takes anything but y or yes for no. Where nobody can be asked it goes on.
func confirm(cmd *cobra.Command, question string) error {
	if !isTerminal(cmd.InOrStdin()) {
		return nil
	}
	if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", printable(question)); err != nil {
		return err
	}
	line := make(chan string, 1)
	go func() { // reading a terminal can't be cut short; the program ends soon if it has to
		text, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "y", "yes":
			return nil
		}
		return fmt.Errorf("nothing was done")
	case <-cmd.Context().Done():
		return cmd.Context().Err()
	}
}

func newVolumeRestore(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "restore VOLUME...",
		Short: "Bring volumes back from the bin",
		Long:  "Bring volumes back from their pools' bins, as they were when they were destroyed.",
		Example: `  elstore volume restore web
  elstore trash list -q | xargs elstore volume restore`,
		Args:              args(1, -1, "VOLUME"),
		ValidArgsFunction: c.complete(binned, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.begin(cmd.Context())
			if err != nil {
				return err
			}
			return each(cmd, given, func(arg string) error {
				id, err := s.trashed(cmd.Context(), arg)
				if err != nil {
					return err
				}
				v, err := s.Restore(cmd.Context(), id, s.me)
				if err != nil {
					return err
				}
				if c.json {
					return printJSON(cmd, v)
				}
				return c.did(cmd, id, "Restored volume %s (%s).", id, printable(v.Name))
			})
		},
	}
}

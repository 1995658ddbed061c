package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError makes an error of the flags one of usage, and says which flag may have been meant.
func flagError(cmd *cobra.Command, err error) error {
	if before := cmd.Flags().Args(); cmd.HasSubCommands() && len(before) > 0 { // the flags are of a command that there is not
		return unknownCommand(cmd, before[0])
	}
	text := err.Error()
	wrong, unknown := strings.CutPrefix(text, "unknown flag: --")
	if unknown {
		if near := nearFlags(cmd, wrong); len(near) > 0 {
			return usagef("%s; did you mean %s?", text, strings.Join(near, " or "))
		}
	}
	return &usageError{err}
}

// nearFlags lists the flags of cmd whose names are few letters away from name, or begin with it.
func nearFlags(cmd *cobra.Command, name string) []string {
	var near []string
	look := func(f *pflag.Flag) {
		if !f.Hidden && (distance(f.Name, name) <= 2 || strings.HasPrefix(f.Name, name)) {
			near = append(near, "--"+f.Name)
		}
	}
	cmd.Flags().VisitAll(look) // with those of the commands above it
	return near
}

// distance is the number of letters that have to be added, dropped or replaced to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// group makes a command that only holds others. Without one it shows its help; with one that it doesn't have it
// says which may have been meant.
func group(use, short, long string, aliases ...string) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Aliases: aliases,
		Short:   short,
		Long:    long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if there := elsewhere(cmd.Root(), name); len(there) > 0 {
		return usagef("`%s` has no command %q; did you mean `%s`?", cmd.CommandPath(), name, strings.Join(there, "` or `"))
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usagef("`%s` has no command %q; did you mean %s?", cmd.CommandPath(), name, strings.Join(near, " or "))
	}
	return usagef("`%s` has no command %q", cmd.CommandPath(), name)
}

// elsewhere lists the commands of other groups that have the very name.
func elsewhere(root *cobra.Command, name string) (paths []string) {
	for _, group := range root.Commands() {
		for _, cmd := range group.Commands() {
			if group.Name() != "completion" && (cmd.Name() == name || cmd.HasAlias(name)) {
				paths = append(paths, cmd.CommandPath())
			}
		}
	}
	if i := slices.Index(paths, root.Name()+" volume "+name); i >= 0 && len(paths) > 3 {
		return paths[i : i+1] // most have a list; volumes are what most people mean
	}
	return paths
}

// args makes the errors of a check of arguments errors of usage; what names the arguments, as the usage line does.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < least:
			return usagef("%s is missing: `%s`", missing(what, len(given)), cmd.UseLine())
		case most >= 0 && len(given) > most:
			return usagef("%q is one argument too many: `%s`", given[most], cmd.UseLine())
		}
		return nil
	}
}

// missing returns the first word of what that was not given.
func missing(what string, given int) string {
	words := strings.Fields(what)
	return strings.TrimRight(words[min(given, len(words)-1)], ".")
}

// noArgs is args for a command that takes none.
func noArgs(cmd *cobra.Command, given []string) error { return args(0, 0, "")(cmd, given) }

package main

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands returns every command that we made, by its path.
func commands() []*cobra.Command {
	var all []*cobra.Command
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		all = append(all, cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand())
	return all
}

// TestHelp: every command explains itself, in lines that fit a terminal.
func TestHelp(t *testing.T) {
	for _, cmd := range commands() {
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s has no help", path)
		}
		if strings.HasSuffix(cmd.Short, ".") || cmd.Short[:1] != strings.ToUpper(cmd.Short[:1]) {
			t.Errorf("%s: %q is not the form of the others", path, cmd.Short)
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len(strings.TrimRight(line, "\n")) > 110 {
				t.Errorf("%s: a line of its help is long: %q", path, line)
			}
		}
		if o := elstore(t, append(strings.Fields(path)[1:], "--help")...); o.code != exitOK || !strings.Contains(o.stdout, cmd.Long[:20]) {
			t.Errorf("%s --help: code %d, %q", path, o.code, o.stdout)
		}
	}
}

func TestElstoreAlone(t *testing.T) {
	out := succeeds(t)
	if !strings.Contains(out, "elstore serve") || strings.Count(out, "\n") > 60 {
		t.Errorf("printed %d lines:\n%s", strings.Count(out, "\n"), out)
	}
}

var quoted = regexp.MustCompile(`'[^']*'`)

// TestExamples: every example can be typed as it stands.
func TestExamples(t *testing.T) {
	n := 0
	for _, cmd := range commands() {
		text := cmd.Example
		if !cmd.HasParent() {
			text = cmd.Long[strings.Index(cmd.Long, "  elstore"):]
		}
		for line := range strings.Lines(text) {
			line = quoted.ReplaceAllString(strings.TrimSpace(line), "QUOTED")
			if !cmd.HasParent() {
				line, _, _ = strings.Cut(line, "   ")
			}
			words := strings.Split(line, "elstore ") // several where one is the argument of another
			for i, part := range words[1:] {
				part, _, _ = strings.Cut(part, "|")
				part, substituted := strings.CutSuffix(strings.TrimSpace(part), "$(")
				n++
				if err := typed(strings.Fields(strings.Trim(part, " )")), substituted || strings.Contains(words[i], "xargs")); err != nil {
					t.Errorf("%s: the example %q: %v", cmd.CommandPath(), line, err)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d examples were found", n)
	}
}

// typed checks a command line without running it. elsewhere: its arguments are the output of another.
func typed(args []string, elsewhere bool) error {
	root := newRootCommand()
	root.SetOut(new(bytes.Buffer))
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	switch err := cmd.ParseFlags(rest); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	case elsewhere:
		return nil
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"size", "size", 0}, {"size", "sise", 1}, {"size", "siz", 1}, {"size", "resize", 2}, {"", "abc", 3}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

package readme

import (
	"regexp"
	"slices"
	"strings"
)

// step is a command of a tour, and what the README shows it to print.
type step struct {
	command string
	prints  string // "" where it shows nothing
}

// tour returns the commands of a section: the lines of indented blocks that begin with "$ ", each with the lines below it.
func tour(text, section string) (steps []step) {
	_, text, found := strings.Cut(text, "\n## "+section+"\n")
	if !found {
		return nil
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case !indented:
		case begins:
			steps = append(steps, step{command: command})
		case len(steps) > 0:
			steps[len(steps)-1].prints += line + "\n"
		}
	}
	return steps
}

// changing are the parts of what is printed that differ each time, and what stands for them.
var changing = []struct {
	match *regexp.Regexp
	as    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{32}%[\w-]+`), "USER%SECRET"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "SHORTID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`(\d+ GB +)[\d.]+ (B|kB|MB)`), "$1 SIZE"}, // on disk: a file system's own business
	{regexp.MustCompile(` +`), " "},
}

// shape is text without what differs each time, which the order of lines does too.
func shape(text string) string {
	for _, c := range changing {
		text = c.match.ReplaceAllString(text, c.as)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines) // lists are in the order of ids
	return strings.Join(lines, "\n")
}

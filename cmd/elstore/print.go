package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// printJSON writes v, which the server said, on one line.
func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes rows in columns. Cells are made printable: a name can't garble the terminal.
type table struct {
	w   *tabwriter.Writer
	err error
}

func newTable(w io.Writer, columns ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		if cell = printable(cell); cell == "" {
			cell = "-"
		}
		end := "\t"
		if i == len(cells)-1 {
			end = "\n"
		}
		if _, err := io.WriteString(t.w, cell+end); err != nil && t.err == nil {
			t.err = err
		}
	}
}

// end writes what was gathered.
func (t *table) end() error {
	if t.err != nil {
		return t.err
	}
	return t.w.Flush()
}

// fields writes names and values below each other.
func fields(w io.Writer, pairs ...string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		value := printable(pairs[i+1])
		if value == "" {
			value = "-"
		}
		if _, err := fmt.Fprintf(tw, "%s:\t%s\n", pairs[i], value); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// printable replaces what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// minute cuts a time of the server, of either of its forms, to "2006-01-02 15:04".
func minute(s string) string {
	const length = len("2006-01-02 15:04")
	if len(s) < length {
		return s
	}
	return strings.Replace(s[:length], "T", " ", 1)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// counted writes "1 volume" or "3 volumes".
func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// humanDuration writes a duration of Go's without the minutes and seconds that are 0.
func humanDuration(s string) string {
	switch d, err := time.ParseDuration(s); {
	case err != nil:
		return s
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return s
}

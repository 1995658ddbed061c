package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"elstore/api/client"
)

// bar shows on a terminal how far long work is, and is silent anywhere else. Work that is done as soon as it was asked about has none.
type bar struct {
	w     io.Writer // nil: silent
	label string
	bar   *progressbar.ProgressBar
	told  bool
	total int64
}

// newBar makes a bar that appears with the second progress of which the end is known, if that is not the end. label says what is done.
func (c *cli) newBar(cmd *cobra.Command, label string) *bar {
	b := &bar{label: label}
	if w := cmd.ErrOrStderr(); !c.quiet && isTerminal(w) {
		b.w = w
	}
	return b
}

// isTerminal reports whether a command's stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bytes is told how much of a transfer is done.
func (b *bar) bytes(done, total int64) {
	if b.w == nil || total <= 0 {
		return
	}
	if b.bar == nil && (!b.told || done >= total) {
		b.told = true
		return
	}
	if b.bar == nil || total != b.total {
		b.end()
		b.total = total
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionSetDescription(b.label),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish(),
		)
	}
	_ = b.bar.Set64(min(done, total)) // what it can't show is no failure of the work
}

// job is told how a job stands.
func (b *bar) job(j client.Job) { b.bytes(j.BytesDone, j.BytesTotal) }

// end takes the bar from the terminal.
func (b *bar) end() {
	if b.bar != nil {
		_ = b.bar.Clear()
		_ = b.bar.Exit()
		b.bar = nil
	}
}

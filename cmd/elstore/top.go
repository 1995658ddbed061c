package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

// minInterval is how often the server is asked at the most.
const minInterval = 100 * time.Millisecond

// clearScreen moves the cursor to the top left and erases all; ECMA-48 sections 8.3.21 and 8.3.39.
const clearScreen = "\x1b[H\x1b[2J"

func newTopCommand(c *cli) *cobra.Command {
	var (
		interval time.Duration
		once     bool
		rows     int
	)
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what machines do with their volumes at this moment",
		Long: `Show what machines do with their volumes at this moment, the busiest first: operations and megabytes
per second, how long a read and a write take on average, and who is logged in. It goes on until Ctrl-C.

--once looks for one --interval and prints one table. With --json it is a list of objects.`,
		Example: `  elstore top
  elstore top --once --interval 5s
  elstore top --once --json | jq -r '.[] | select(.write_ms > 100) | .volume_id'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < minInterval {
				return usagef("--interval is %v; it must be %v or more", interval, minInterval)
			}
			cl, err := c.connect()
			if err != nil {
				return err
			}
			t := &top{cli: c, client: cl, out: cmd.OutOrStdout(), rows: rows, names: map[string]string{}}
			t.screen = isTerminal(t.out) && !once && !c.json
			return t.run(cmd, interval, once)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&interval, "interval", 2*time.Second, "how long to look before each table")
	f.BoolVar(&once, "once", false, "print one table and end")
	f.IntVar(&rows, "rows", 20, "how many exports to show; 0 is all")
	return cmd
}

// top shows again and again what happened since the last time.
type top struct {
	cli    *cli
	client *client.Client
	out    io.Writer
	screen bool // it has a terminal for itself
	rows   int
	names  map[string]string // of volumes, by id
}

// sample is what the server said at a time.
type sample struct {
	at   time.Time
	list []client.ExportInfo
}

func (t *top) run(cmd *cobra.Command, interval time.Duration, once bool) error {
	ctx := cmd.Context()
	before, err := t.sample(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := t.sample(ctx)
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return err
		}
		if err := t.show(cmd, activities(before, now)); err != nil || once {
			return err
		}
		before = now
	}
}

func (t *top) sample(ctx context.Context) (sample, error) {
	list, err := t.client.Exports(ctx, "", "")
	return sample{time.Now(), list}, err
}

// activity is what one export did in a stretch of time, per second.
type activity struct {
	Volume   string  `json:"volume_id"`
	Name     string  `json:"name"`
	Client   string  `json:"client_uid"`
	Type     string  `json:"type"`
	Sessions int     `json:"sessions"`
	ReadOps  float64 `json:"read_iops"`
	ReadMB   float64 `json:"read_MB"` // 10^6 bytes
	ReadMS   float64 `json:"read_ms"` // on average, 0 where there was none
	WriteOps float64 `json:"write_iops"`
	WriteMB  float64 `json:"write_MB"`
	WriteMS  float64 `json:"write_ms"`
	Errors   float64 `json:"errors"`
}

// activities compares what two samples say of the same exports, the busiest first. What began between them counts from its beginning, and
// what began anew, as after a restart of the server, too.
func activities(before, now sample) []activity {
	old := make(map[string]client.ExportInfo, len(before.list))
	for i := range before.list {
		old[before.list[i].Attachment] = before.list[i]
	}
	seconds := now.at.Sub(before.at).Seconds()
	list := []activity{}
	for i := range now.list {
		n := &now.list[i]
		o := old[n.Attachment]
		if n.Reads < o.Reads || n.Writes < o.Writes || n.Errors < o.Errors {
			o = client.ExportInfo{}
		}
		reads, writes := float64(n.Reads-o.Reads), float64(n.Writes-o.Writes)
		list = append(list, activity{
			Volume: n.Volume, Client: n.Client, Type: n.Type, Sessions: len(n.Sessions),
			ReadOps: reads / seconds, ReadMB: float64(n.ReadBytes-o.ReadBytes) / 1e6 / seconds, ReadMS: mean(n.ReadTime-o.ReadTime, reads),
			WriteOps: writes / seconds, WriteMB: float64(n.WriteBytes-o.WriteBytes) / 1e6 / seconds, WriteMS: mean(n.WriteTime-o.WriteTime, writes),
			Errors: float64(n.Errors-o.Errors) / seconds,
		})
	}
	slices.SortStableFunc(list, func(a, b activity) int {
		return cmp.Or(cmp.Compare(b.ReadOps+b.WriteOps, a.ReadOps+a.WriteOps), cmp.Compare(b.Sessions, a.Sessions))
	})
	return list
}

// mean returns milliseconds for each of count operations that took so many microseconds together.
func mean(microseconds int64, count float64) float64 {
	if count == 0 {
		return 0
	}
	return float64(microseconds) / 1000 / count
}

// show prints the busiest.
func (t *top) show(cmd *cobra.Command, list []activity) error {
	total := activity{}
	for _, a := range list {
		total.ReadOps, total.WriteOps = total.ReadOps+a.ReadOps, total.WriteOps+a.WriteOps
		total.ReadMB, total.WriteMB = total.ReadMB+a.ReadMB, total.WriteMB+a.WriteMB
		total.Sessions += a.Sessions
	}
	count := len(list)
	if t.rows > 0 && count > t.rows {
		list = list[:t.rows]
	}
	for i := range list {
		list[i].Name = t.name(cmd.Context(), list[i].Volume)
	}
	if t.cli.json {
		return printJSON(cmd, list)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s; reads %s/s and %s MB/s, writes %s/s and %s MB/s\n", counted(int64(count), "export"), counted(int64(total.Sessions), "session"),
		rate(total.ReadOps), rate(total.ReadMB), rate(total.WriteOps), rate(total.WriteMB))
	table := newTable(&b, "VOLUME", "NAME", "TYPE", "SESSIONS", "READ/S", "MB/S", "MS", "WRITE/S", "MB/S", "MS", "ERRORS/S")
	for _, a := range list {
		table.row(a.Volume[:min(len(a.Volume), 8)], a.Name, a.Type, strconv.Itoa(a.Sessions), rate(a.ReadOps), rate(a.ReadMB), rate(a.ReadMS),
			rate(a.WriteOps), rate(a.WriteMB), rate(a.WriteMS), rate(a.Errors))
	}
	if err := table.end(); err != nil {
		return err
	}
	text := b.String()
	if t.screen {
		text = clearScreen + text
	}
	_, err := io.WriteString(t.out, text)
	return err
}

// name returns a volume's name, asked for once; "" where it can't be had.
func (t *top) name(ctx context.Context, id string) string {
	name, known := t.names[id]
	if !known {
		if v, err := t.client.Info(ctx, id); err == nil {
			name = v.Name
		}
		t.names[id] = name
	}
	return name
}

// rate writes a number with about three digits.
func rate(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 10:
		return strconv.FormatFloat(n, 'f', 2, 64)
	case n < 100:
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

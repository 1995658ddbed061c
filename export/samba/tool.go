package samba

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// tool runs a program of Samba's in the cell, and returns what it said.
func (d *smbd) tool(ctx context.Context, name string, args ...string) (string, error) {
	return runTool(ctx, d.cell.start, name, args...)
}

// runTool runs a program that start starts, and returns what it said.
func runTool(ctx context.Context, start func(*exec.Cmd) error, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolWait)
	defer cancel()
	path, err := program(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // none of it is from outside
	out := &tail{limit: maxList}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	if err := start(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.text(), err
}

// How much is kept of what a program said, in bytes: of one that goes on, and of one that may list things.
const (
	maxTail = 2 << 10
	maxList = 8 << 20
)

// tail keeps the end of what a program writes, and logs its lines.
type tail struct {
	log   *slog.Logger // nil logs nothing
	limit int          // 0 is maxTail

	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	if t.log != nil {
		for lines := bufio.NewScanner(bytes.NewReader(p)); lines.Scan(); {
			t.log.Debug("smbd says", slog.String("line", lines.Text()))
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-cmp.Or(t.limit, maxTail)):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}

var _ io.Writer = (*tail)(nil)

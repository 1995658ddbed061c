package samba

import (
	"bufio"
	"bytes"
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
	ctx, cancel := context.WithTimeout(ctx, toolWait)
	defer cancel()
	path, err := program(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // none of it is from outside
	out := &tail{log: slog.New(slog.DiscardHandler)}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second
	if err := d.cell.start(cmd); err != nil {
		return "", err
	}
	err = cmd.Wait()
	return out.text(), err
}

// maxTail is how much is kept of what a program said, in bytes.
const maxTail = 2 << 10

// tail keeps the end of what a program writes, and logs its lines.
type tail struct {
	log *slog.Logger

	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	for lines := bufio.NewScanner(bytes.NewReader(p)); lines.Scan(); {
		t.log.Debug("smbd says", slog.String("line", lines.Text()))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}

var _ io.Writer = (*tail)(nil)

package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long the rig waits for what should take milliseconds.
const patience = 60 * time.Second

// process is a running server of one kind or another.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   bytes.Buffer // what it wrote
	file  string       // that it writes when it is ready
	ended chan struct{}
	err   error
}

// readiness is what a server says when it is ready.
type readiness struct {
	API    []string `json:"api"`
	ISCSI  []string `json:"iscsi"`
	NBD    []string `json:"nbd"`
	Samba  string   `json:"samba"`
	Target string   `json:"target"`
	Debug  string   `json:"debug"`
}

// launch starts the binary, which is ended with the test.
func launch(t testing.TB, args []string) *process {
	t.Helper()
	p := &process{t: t, file: filepath.Join(t.TempDir(), "ready"), ended: make(chan struct{})}
	p.cmd = exec.Command(Binary(t), append(args, "--ready-file", p.file)...)
	p.cmd.Stderr = &p.log
	p.cmd.Stdout = &p.log
	p.cmd.WaitDelay = patience // a child that outlives it and holds its output does not hold the test
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	return p
}

// ready waits until the process has written its ready file.
func (p *process) ready() (readiness, error) {
	deadline := time.After(patience)
	for {
		var r readiness
		data, err := os.ReadFile(p.file)
		if err == nil && json.Unmarshal(data, &r) == nil {
			return r, nil
		}
		select {
		case <-p.ended:
			return r, fmt.Errorf("the server ended before it was ready: %w\n%s", p.err, p.log.String())
		case <-deadline:
			p.Kill()
			return r, fmt.Errorf("the server was not ready after %v\n%s", patience, p.log.String())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Pid is the server's process id.
func (p *process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the server as a crash does (SIGKILL), and waits until it is gone.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill()
	if err := Gone(p.Pid(), p.ended); err != nil {
		p.t.Error(err)
	}
}

// Gone waits until a process that was killed has ended. The error says what holds it.
func Gone(pid int, ended <-chan struct{}) error {
	select {
	case <-ended:
		return nil
	case <-time.After(patience):
	}
	var text []byte
	for _, file := range []string{"status", "wchan", "stack", "task/*/stack"} {
		names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", pid, file))
		for _, name := range names {
			data, err := os.ReadFile(name)
			text = fmt.Appendf(text, "%s: %v\n%s\n", name, err, data)
		}
	}
	return fmt.Errorf("process %d was killed, and has not ended after %v\n%s", pid, patience, text)
}

// Stop ends the server as an operator does (SIGTERM), and returns what it said in the end.
func (p *process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("the server did not stop within %v", patience)
	}
}

// at ends a process that hangs, and returns what it wrote: where its goroutines stood, too.
func (p *process) at() string {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(patience): // a stopped process does not end by it
		p.Kill()
	}
	return p.log.String()
}

// Log returns what the server wrote. Call it after the server has ended.
func (p *process) Log() string {
	if err := Gone(p.Pid(), p.ended); err != nil {
		p.t.Fatal(err)
	}
	return p.log.String()
}

package guest

import (
	"strings"
	"testing"
)

// Result is how a script ended.
type Result struct {
	Status int    // exit status
	Output string // standard output and error, without white space around it
}

// Job is a script that was started.
type Job struct {
	guest  *Guest
	script string
	done   chan struct{}
	result Result
	err    error
}

// Start starts a script in the guest's shell. 3 run at once, a further one waits for one of them.
func (g *Guest) Start(script string) *Job {
	j := &Job{guest: g, script: script, done: make(chan struct{})}
	go func() {
		defer close(j.done)
		p := <-g.idle
		if j.result, j.err = p.run(script); j.err != nil {
			p.close() // what comes from it is not the answer to anything
		}
		g.idle <- p
	}()
	return j
}

// Wait returns how the script ended.
func (j *Job) Wait(t testing.TB) Result {
	t.Helper()
	<-j.done
	if j.err != nil {
		lines := strings.Split(strings.TrimSpace(j.guest.Console()), "\n")
		t.Fatalf("guest %s: %s: %v\n%s", j.guest.name, j.script, j.err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return j.result
}

// Try runs a script and returns how it ended.
func (g *Guest) Try(t testing.TB, script string) Result {
	t.Helper()
	return g.Start(script).Wait(t)
}

// Run runs a script whose every command must succeed, and returns its output.
func (g *Guest) Run(t testing.TB, script string) string {
	t.Helper()
	r := g.Try(t, "set -e\n"+script)
	if r.Status != 0 {
		t.Fatalf("guest %s: %s: exit status %d\n%s\nThe kernel said last:\n%s",
			g.name, script, r.Status, r.Output, g.Try(t, "dmesg | tail -n 20").Output)
	}
	return r.Output
}

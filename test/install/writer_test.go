package install

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// block is how much a writer writes at once, blocks how many of them it goes round through.
const (
	block  = 64 << 10
	blocks = 128
)

// writer is a machine that writes to its disk without end, with QEMU's own iSCSI initiator.
type writer struct {
	t       *testing.T
	system  *system
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	written []int // the pattern of each block, 0 where it was never written
	next    int
	stop    chan struct{}
	ended   chan error
	count   chan int // how many writes were acknowledged; the last one only
}

// write starts a writer on what an export's URI names.
func (s *system) write(name, uri string) *writer {
	s.t.Helper()
	w := &writer{
		t: s.t, system: s, name: name, cmd: s.enter("stdbuf", "-oL", "qemu-io", "-f", "raw", uri), written: make([]int, blocks),
		stop: make(chan struct{}), ended: make(chan error, 1), count: make(chan int, 1),
	}
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	w.cmd.Stderr = w.cmd.Stdout
	w.out = bufio.NewReader(out)
	must(s.t, w.cmd.Start())
	s.t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	})
	go func() { w.ended <- w.loop() }()
	return w
}

func (w *writer) loop() error {
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return nil
		default:
		}
		at, pattern := w.next, n%255+1
		through := ""
		if n%16 == 15 {
			through = " -f" // FUA
		}
		if err := w.do(fmt.Sprintf("write%s -P %d %d %d", through, pattern, at*block, block), "wrote"); err != nil {
			return err
		}
		w.written[at] = pattern
		w.next = (at + 1) % blocks
		select {
		case <-w.count:
		default:
		}
		w.count <- n + 1
	}
}

// do runs one command of qemu-io, which says a line that begins with a word, and one of how long it took. It reads no further command
// before it has answered.
func (w *writer) do(command, says string) error {
	if _, err := fmt.Fprintln(w.in, command); err != nil {
		return err
	}
	for {
		line, err := w.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, line)
		}
		line = strings.TrimPrefix(line, "qemu-io> ")
		switch {
		case strings.HasPrefix(line, says):
			_, err := w.out.ReadString('\n')
			return err
		case strings.Contains(line, "iSCSI") || strings.Contains(line, "ISCSI") || strings.TrimSpace(line) == "":
			w.t.Logf("%s: %s", w.name, strings.TrimSpace(line)) // it tells that it connects again
		default:
			return fmt.Errorf("%s: %s", command, line)
		}
	}
}

// more waits until so many writes more were acknowledged.
func (w *writer) more(n int) {
	w.t.Helper()
	from, deadline := -1, time.After(patience)
	for {
		select {
		case done := <-w.count:
			if from < 0 {
				from = done
			}
			if done-from >= n {
				return
			}
		case err := <-w.ended:
			w.t.Fatalf("%s ended: %v", w.name, err)
		case <-deadline:
			log, _ := w.system.try("journalctl", "--no-pager", "-n", "60", "-o", "cat")
			w.t.Fatalf("%s writes no more, after %d times\n%s", w.name, from, log)
		}
	}
}

// end stops writing, reads everything back, and ends.
func (w *writer) end() {
	w.t.Helper()
	close(w.stop)
	if err := <-w.ended; err != nil {
		w.t.Fatalf("%s: %v", w.name, err)
	}
	for at, pattern := range w.written {
		if err := w.do(fmt.Sprintf("read -P %d %d %d", pattern, at*block, block), "read"); err != nil {
			w.t.Errorf("%s: block %d: %v", w.name, at, err)
		}
	}
	_, _ = fmt.Fprintln(w.in, "quit")
	if err := w.cmd.Wait(); err != nil {
		w.t.Errorf("%s: %v", w.name, err)
	}
}

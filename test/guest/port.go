package guest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// port is a way to the guest's shell, a virtio serial port with a unix socket at the host's end. The guest says
// "ready" when it listens. A script goes to it as one line in base64, and its answer is a line with the exit
// status and the number of bytes of output, and then the output.
type port struct {
	path     string
	listener net.Listener
	conn     net.Conn
	reader   *bufio.Reader
}

// listen makes the socket that QEMU connects to.
func listen(path string) (*port, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return &port{path: path, listener: l}, nil
}

// open waits for the guest, the first time.
func (p *port) open() error {
	if p.conn != nil {
		return nil
	}
	deadline := time.Now().Add(patience)
	if err := p.listener.(*net.UnixListener).SetDeadline(deadline); err != nil {
		return err
	}
	conn, err := p.listener.Accept()
	if err != nil {
		return err
	}
	p.conn, p.reader = conn, bufio.NewReader(conn)
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	line, err := p.reader.ReadString('\n')
	if err != nil {
		return fmt.Errorf("it does not get ready: %w", err)
	}
	if strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("it said %q, not that it is ready", line)
	}
	return nil
}

// run runs a script and returns how it ended.
func (p *port) run(script string) (Result, error) {
	if err := p.open(); err != nil {
		return Result{}, err
	}
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return Result{}, err
	}
	if _, err := fmt.Fprintln(p.conn, base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return Result{}, err
	}
	var r Result
	var size int64
	line, err := p.reader.ReadString('\n')
	if err != nil {
		return Result{}, err
	}
	if _, err := fmt.Sscan(line, &r.Status, &size); err != nil {
		return Result{}, fmt.Errorf("it answered %q: %w", line, err)
	}
	var out strings.Builder
	if _, err := io.CopyN(&out, p.reader, size); err != nil {
		return Result{}, err
	}
	r.Output = strings.TrimSpace(out.String())
	return r, nil
}

// close ends the port: every further script fails.
func (p *port) close() {
	_ = p.listener.Close()
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

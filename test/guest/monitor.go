package guest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Monitor is QEMU's own control of a machine, QMP.
type Monitor struct {
	path   string
	conn   net.Conn
	answer *json.Decoder
}

// NewMonitor returns a monitor of a machine that is to be booted, with its Argument.
func NewMonitor(t testing.TB, dir string) *Monitor {
	t.Helper()
	return &Monitor{path: filepath.Join(dir, "qmp")}
}

// Arguments are for Boot.
func (m *Monitor) Arguments() []string {
	return []string{"-qmp", "unix:" + m.path + ",server=on,wait=off"}
}

// open connects, the first time. The machine was booted a moment ago.
func (m *Monitor) open(t testing.TB, g *Guest) error {
	if m.conn != nil {
		return nil
	}
	deadline := time.After(patience)
	for {
		var err error
		if m.conn, err = net.Dial("unix", m.path); err == nil {
			break
		}
		select {
		case <-g.exited:
			return fmt.Errorf("the machine is off: %s", g.Console())
		case <-deadline:
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
	t.Cleanup(func() { m.conn.Close() })
	m.answer = json.NewDecoder(m.conn)
	if _, err := m.ask("qmp_capabilities", nil); err != nil {
		return err
	}
	return nil
}

// Try sends a command, and returns its answer.
func (m *Monitor) Try(t testing.TB, g *Guest, command string, arguments any) (json.RawMessage, error) {
	t.Helper()
	if err := m.open(t, g); err != nil {
		return nil, err
	}
	return m.ask(command, arguments)
}

// Do is Try for a command that must succeed. into may be nil.
func (m *Monitor) Do(t testing.TB, g *Guest, command string, arguments, into any) {
	t.Helper()
	data, err := m.Try(t, g, command, arguments)
	if err == nil && into != nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("guest %s: %s: %v", g.name, command, err)
	}
}

func (m *Monitor) ask(command string, arguments any) (json.RawMessage, error) {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if err := m.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := m.conn.Write(append(data, '\n')); err != nil {
		return nil, err
	}
	for {
		var a struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		switch err := m.answer.Decode(&a); {
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case a.Error != nil:
			return nil, fmt.Errorf("QEMU refuses: %s", a.Error.Desc)
		case a.Return != nil:
			return a.Return, nil
		} // else an event, or the greeting
	}
}

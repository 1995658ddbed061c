package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

const qmpGreeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}`

func TestParseQMP(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		want qmpMessage
		fail bool
	}{
		"greeting":       {qmpGreeting, qmpMessage{greeting: true}, false},
		"reply":          {`{"return": {"a": 1}, "id": 7}`, qmpMessage{id: 7, result: json.RawMessage(`{"a": 1}`)}, false},
		"error":          {`{"id": 8, "error": {"class": "GenericError", "desc": "no"}}`, qmpMessage{id: 8, err: &qmpError{"GenericError", "no"}}, false},
		"event":          {`{"timestamp": {}, "event": "SHUTDOWN", "data": {"guest": false}}`, qmpMessage{event: "SHUTDOWN", data: json.RawMessage(`{"guest": false}`)}, false},
		"without an id":  {`{"return": 1}`, qmpMessage{result: json.RawMessage(`1`)}, false},
		"nothing":        {``, qmpMessage{}, true},
		"not JSON":       {`QMP`, qmpMessage{}, true},
		"no object":      {`[]`, qmpMessage{}, true},
		"nothing known":  {`{"id": 1}`, qmpMessage{}, true},
		"an odd id":      {`{"return": {}, "id": "x"}`, qmpMessage{}, true},
		"a negative id":  {`{"return": {}, "id": -1}`, qmpMessage{}, true},
		"an odd error":   {`{"error": "x", "id": 1}`, qmpMessage{}, true},
		"more than one":  {`{"return": {}} {"return": {}}`, qmpMessage{}, true},
		"null is no one": {`null`, qmpMessage{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseQMP([]byte(tc.line))
			if (err != nil) != tc.fail {
				t.Fatalf("error is %v", err)
			}
			if a, b := fmt.Sprintf("%+v %+v", got, got.err), fmt.Sprintf("%+v %+v", tc.want, tc.want.err); err == nil && a != b && got.err == nil {
				t.Fatalf("got %s, want %s", a, b)
			}
			if tc.want.err != nil && (got.err == nil || *got.err != *tc.want.err || got.id != tc.want.id) {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

func FuzzParseQMP(f *testing.F) {
	f.Add([]byte(qmpGreeting))
	f.Add([]byte(`{"return": {}, "id": 1}`))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": "no"}}`))
	f.Add([]byte(`{"event": "X"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parseQMP(line)
		if kinds := m.greeting || m.event != "" || m.err != nil || m.result != nil; (err == nil) != kinds {
			t.Fatalf("%+v, %v", m, err)
		}
	})
}

// monitor plays QEMU's end.
type monitor struct {
	t     testing.TB
	conn  net.Conn
	lines *bufio.Scanner
}

func newMonitor(t testing.TB) (net.Conn, *monitor) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	return ours, &monitor{t, theirs, bufio.NewScanner(theirs)}
}

func (m *monitor) say(format string, args ...any) {
	if _, err := fmt.Fprintf(m.conn, format+"\n", args...); err != nil {
		m.t.Errorf("say: %v", err)
	}
}

// next takes a command.
func (m *monitor) next() (command string, id uint64, arguments string) {
	var c struct {
		Execute   string
		ID        uint64
		Arguments json.RawMessage
	}
	if !m.lines.Scan() {
		m.t.Errorf("no command: %v", m.lines.Err())
	} else if err := json.Unmarshal(m.lines.Bytes(), &c); err != nil {
		m.t.Error(err)
	}
	return c.Execute, c.ID, string(c.Arguments)
}

// greet does QEMU's part of the beginning.
func (m *monitor) greet() {
	m.say(qmpGreeting)
	if c, id, _ := m.next(); c != "qmp_capabilities" {
		m.t.Errorf("the first command is %q", c)
	} else {
		m.say(`{"return": {}, "id": %d}`, id)
	}
}

func newTestQMP(t testing.TB, events func(string, json.RawMessage)) (*qmp, *monitor) {
	t.Helper()
	ours, m := newMonitor(t)
	var greeting sync.WaitGroup
	greeting.Go(m.greet)
	q, err := newQMP(t.Context(), ours, events)
	if err != nil {
		t.Fatal(err)
	}
	greeting.Wait()
	t.Cleanup(q.close)
	return q, m
}

func TestQMPCommands(t *testing.T) {
	events := make(chan string, 1)
	q, m := newTestQMP(t, func(name string, data json.RawMessage) { events <- name + string(data) })
	var playing sync.WaitGroup
	defer playing.Wait()
	playing.Go(func() {
		command, id, arguments := m.next()
		if command != "block_resize" || arguments != `{"size":512}` {
			t.Errorf("got %s %s", command, arguments)
		}
		m.say(`{"event": "SOMETHING", "data": {"x": 1}, "timestamp": {}}`)
		m.say(`{"return": {}, "id": %d}`, id+100) // nobody's
		m.say(`{"return": {"number": 7}, "id": %d}`, id)
		_, id, arguments = m.next()
		if arguments != "" {
			t.Errorf("arguments %s", arguments)
		}
		m.say(`{"error": {"class": "GenericError", "desc": "it can't"}, "id": %d}`, id)
		_, id, _ = m.next()
		m.say(`{"return": [], "id": %d}`, id)
	})
	var result struct{ Number int }
	if err := q.do(t.Context(), "block_resize", map[string]any{"size": 512}, &result); err != nil || result.Number != 7 {
		t.Errorf("%+v, %v", result, err)
	}
	if got := <-events; got != `SOMETHING{"x": 1}` {
		t.Errorf("event %s", got)
	}
	err := q.do(t.Context(), "quit", nil, nil)
	if refusal, ok := errors.AsType[*qmpError](err); !ok || refusal.Desc != "it can't" || refusal.Class != "GenericError" {
		t.Errorf("error is %v", err)
	}
	if err := q.do(t.Context(), "query", nil, &result); err == nil {
		t.Error("a list became a struct")
	}
	if err := q.do(t.Context(), "query", func() {}, nil); err == nil {
		t.Error("a function became JSON")
	}
}

// Commands of several goroutines get their own replies, in whatever order those come.
func TestQMPAtTheSameTime(t *testing.T) {
	q, m := newTestQMP(t, nil)
	const n = 20
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			var got int
			if err := q.do(t.Context(), "echo", i, &got); err != nil || got != i {
				t.Errorf("%d: got %d, %v", i, got, err)
			}
		})
	}
	type asked struct {
		id        uint64
		arguments string
	}
	var all []asked
	for range n {
		_, id, arguments := m.next()
		all = append(all, asked{id, arguments})
	}
	for i := n - 1; i >= 0; i-- {
		m.say(`{"return": %s, "id": %d}`, all[i].arguments, all[i].id)
	}
	calls.Wait()
}

func TestQMPContext(t *testing.T) {
	q, m := newTestQMP(t, nil)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.do(ctx, "slow", nil, nil) }()
	_, id, _ := m.next()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Fatalf("error is %v", err)
	}
	if err := q.do(ctx, "late", nil, nil); !errors.Is(err, why) {
		t.Fatalf("error is %v", err)
	}
	m.say(`{"return": {}, "id": %d}`, id) // too late, and to nobody
	go func() { done <- q.do(t.Context(), "quick", nil, nil) }()
	_, id, _ = m.next()
	m.say(`{"return": {}, "id": %d}`, id)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A command that is cut off in the middle of its line ends the connection.
func TestQMPContextWhileWriting(t *testing.T) {
	q, m := newTestQMP(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.do(ctx, "slow", nil, nil) }()
	if _, err := m.conn.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	<-q.done
	if err := q.do(t.Context(), "late", nil, nil); err == nil {
		t.Fatal("no error")
	}
}

func TestQMPEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		says string
		want string
	}{
		"closed":           {"", "closed the connection"},
		"malformed":        {"}\n", "invalid character"},
		"a second hello":   {qmpGreeting + "\n", "greeting"},
		"an endless line":  {strings.Repeat(" ", qmpMaxLine+1), "too long"},
		"unfinished reply": {`{"return": {}`, "unexpected end"},
	} {
		t.Run(name, func(t *testing.T) {
			q, m := newTestQMP(t, nil)
			done := make(chan error, 1)
			go func() { done <- q.do(t.Context(), "anything", nil, nil) }()
			m.next()
			_, _ = m.conn.Write([]byte(tc.says))
			m.conn.Close()
			if err := <-done; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want one with %q", err, tc.want)
			}
			if err := q.do(t.Context(), "late", nil, nil); err == nil {
				t.Fatal("a command after the end")
			}
		})
	}
}

func TestQMPBeginning(t *testing.T) {
	for name, tc := range map[string]struct {
		play func(m *monitor)
		want string
	}{
		"closed":       {func(m *monitor) { m.conn.Close() }, "closed"},
		"no greeting":  {func(m *monitor) { m.say(`{"return": {}}`) }, "greeting"},
		"no QMP":       {func(m *monitor) { m.say(`220 smtp ready`) }, "invalid character"},
		"event before": {func(m *monitor) { m.say(`{"event": "X"}`) }, "greeting"},
		"refused": {func(m *monitor) {
			m.say(qmpGreeting)
			_, id, _ := m.next()
			m.say(`{"error": {"class": "GenericError", "desc": "never"}, "id": %d}`, id)
		}, "never"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, m := newMonitor(t)
			var playing sync.WaitGroup
			playing.Go(func() { tc.play(m) })
			_, err := newQMP(t.Context(), ours, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want one with %q", err, tc.want)
			}
			playing.Wait()
			if _, err := ours.Write(nil); err == nil {
				t.Error("the connection is open")
			}
		})
	}
	ours, _ := newMonitor(t) // one that says nothing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newQMP(ctx, ours, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
}

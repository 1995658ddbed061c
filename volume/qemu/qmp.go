package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// qmp is a client of QEMU's monitor (docs/interop/qmp-spec.txt). Its methods may be called at the same time.
type qmp struct {
	conn   net.Conn
	events func(name string, data json.RawMessage) // called by the reader; must not block
	done   chan struct{}                           // closed when the reader ended

	writing sync.Mutex // held while a command is written

	mu    sync.Mutex
	calls map[uint64]chan<- qmpMessage
	last  uint64
	err   error // why the reader ended
}

// qmpMaxLine is the longest line that is read. The longest answer asked for is the list of block nodes.
const qmpMaxLine = 1 << 20

// newQMP takes the greeting on conn, which it closes if that fails, and leaves the phase of negotiation.
func newQMP(ctx context.Context, conn net.Conn, events func(string, json.RawMessage)) (*qmp, error) {
	q := &qmp{conn: conn, events: events, done: make(chan struct{}), calls: map[uint64]chan<- qmpMessage{}}
	greeted := make(chan struct{})
	go q.read(greeted)
	select {
	case <-greeted:
	case <-q.done:
		return nil, q.reason()
	case <-ctx.Done():
		q.close()
		return nil, fmt.Errorf("QMP: no greeting: %w", context.Cause(ctx))
	}
	if err := q.do(ctx, "qmp_capabilities", nil, nil); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// read takes in lines until the connection ends.
func (q *qmp) read(greeted chan<- struct{}) {
	defer close(q.done)
	defer q.conn.Close()
	lines := bufio.NewScanner(q.conn)
	lines.Buffer(make([]byte, 0, 4096), qmpMaxLine)
	var err error
	for err == nil && lines.Scan() {
		var m qmpMessage
		if m, err = parseQMP(lines.Bytes()); err != nil {
			break
		}
		switch {
		case m.greeting && greeted != nil:
			close(greeted)
			greeted = nil
		case m.greeting || greeted != nil:
			err = errors.New("QMP: the greeting is not the first line, or not the only one")
		case m.event != "":
			if q.events != nil {
				q.events(m.event, m.data)
			}
		default:
			q.answer(m)
		}
	}
	if err == nil {
		err = lines.Err()
	}
	if err == nil {
		err = errors.New("QMP: QEMU closed the connection")
	}
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
}

// answer hands a reply to whoever waits for it. A reply to nobody is that of a command that was given up.
func (q *qmp) answer(m qmpMessage) {
	q.mu.Lock()
	reply := q.calls[m.id]
	delete(q.calls, m.id)
	q.mu.Unlock()
	if reply != nil {
		reply <- m
	}
}

// do runs a command and decodes what it returns into result, unless that is nil. A refusal is a *qmpError. When ctx ends
// first, the command may have been carried out or not.
func (q *qmp) do(ctx context.Context, command string, arguments, result any) error {
	reply := make(chan qmpMessage, 1)
	q.mu.Lock()
	q.last++
	id := q.last
	q.calls[id] = reply
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		delete(q.calls, id)
		q.mu.Unlock()
	}()
	if err := q.write(ctx, command, arguments, id); err != nil {
		return err
	}
	select {
	case m := <-reply:
		return m.decode(command, result)
	case <-q.done:
		select {
		case m := <-reply: // it came before the end
			return m.decode(command, result)
		default:
			return fmt.Errorf("QMP %s: %w", command, q.reason())
		}
	case <-ctx.Done():
		return fmt.Errorf("QMP %s: %w", command, context.Cause(ctx))
	}
}

func (m qmpMessage) decode(command string, result any) error {
	if m.err != nil {
		return fmt.Errorf("QMP %s: %w", command, m.err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.result, result); err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	return nil
}

func (q *qmp) write(ctx context.Context, command string, arguments any, id uint64) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	q.writing.Lock()
	defer q.writing.Unlock()
	if ctx.Err() != nil {
		return fmt.Errorf("QMP %s: %w", command, context.Cause(ctx))
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		_ = q.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	_, err = q.conn.Write(append(line, '\n'))
	if !stop() {
		<-cut
		_ = q.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	_ = q.conn.Close() // half a line would spoil all that follow
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("QMP %s: %w", command, err)
}

// reason returns why the connection ended, once it has.
func (q *qmp) reason() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// close ends the connection and waits for the reader.
func (q *qmp) close() {
	_ = q.conn.Close()
	<-q.done
}

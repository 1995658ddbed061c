package iscsi

import (
	"context"
	"slices"
	"sync"
	"time"

	"elstore/export/iscsi/pdu"
	"elstore/export/scsi"
)

// taskState says who has a task.
type taskState uint8

const (
	held    taskState = iota // the reader, or a worker that runs it
	waiting                  // nobody: data is to come
	queued                   // one of the queues
)

// burst is a sequence of Data-Out PDUs that an R2T asked for.
type burst struct {
	tag  uint32 // Target Transfer Tag
	end  int64  // offset of the byte after it
	next pdu.SN // DataSN
}

// task is a command from its PDU until its answer was sent. It is used again after that.
type task struct {
	itt       uint32
	lun       uint64
	cmdSN     pdu.SN
	immediate bool
	read      bool // R
	write     bool // W
	expected  int64
	bidi      int64 // Bidirectional Read Expected Data Transfer Length
	cmd       scsi.Command
	plan      scsi.Plan
	noUnit    bool
	paced     bool        // the limiter knows of it
	timer     *time.Timer // while the limiter delays it
	seq       uint64      // order of arrival
	ctx       abortable

	state    taskState
	aborted  abortKind
	waiters  []*waiter
	next     *task // in the list of free ones
	reserved int64 // bytes that it was granted
	charged  int64 // bytes that came, or may come, unasked

	// data of a write
	want      int64 // bytes of it that the command can use
	offset    int64 // of the next Data-Out
	firstEnd  int64 // up to where unsolicited data may come
	open      bool  // unsolicited Data-Out is to come
	openSN    pdu.SN
	solicited int64 // up to where R2Ts asked
	admitted  bool  // Admit let it through, and R2Ts may be sent
	r2tSN     pdu.SN
	bursts    []burst // that are outstanding, in order
	condition condition
	out       [][]byte
	bufs      []*pdu.Buffer
	own       *pdu.Buffer // the last of bufs where its room is the task's own
	ownUsed   int

	// the answer
	in        *pdu.Buffer
	pages     pdu.Pages // instead of in
	length    int       // bytes of them
	status    scsi.Status
	sense     []byte // with SenseLength
	senseRoom [258]byte
}

// abortable is a context of a task that costs nothing until somebody waits for its end.
type abortable struct {
	mu      sync.Mutex
	aborted bool
	done    chan struct{}
	after   []*func()
}

var _ context.Context = (*abortable)(nil)

// Deadline implements context.Context: there is none.
func (*abortable) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context: there is none.
func (*abortable) Value(any) any { return nil }

// Done implements context.Context.
func (a *abortable) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done == nil {
		a.done = make(chan struct{})
		if a.aborted {
			close(a.done)
		}
	}
	return a.done
}

// Err implements context.Context.
func (a *abortable) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted {
		return context.Canceled
	}
	return nil
}

func (a *abortable) abort() {
	a.mu.Lock()
	after := a.after
	a.after = nil
	if !a.aborted && a.done != nil {
		close(a.done)
	}
	a.aborted = true
	a.mu.Unlock()
	for _, f := range after {
		(*f)()
	}
}

// AfterFunc is what package context asks for when it derives a context of this one. Without it a goroutine would wait for the end of both,
// and might come to look when the task is another command's.
func (a *abortable) AfterFunc(f func()) (stop func() bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted {
		go f()
		return func() bool { return false }
	}
	a.after = append(a.after, &f)
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		i := slices.Index(a.after, &f)
		if i < 0 {
			return false
		}
		a.after = slices.Delete(a.after, i, i+1)
		return true
	}
}

func (a *abortable) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.aborted, a.done, a.after = false, nil, nil
}

// newTask takes a task of the free ones. s.mu is held.
func (s *session) newTask() *task {
	t := s.free
	if t == nil {
		return &task{}
	}
	s.free, t.next = t.next, nil
	return t
}

// releaseOut gives back the data of a write.
func (t *task) releaseOut() {
	for i, b := range t.bufs {
		b.Release()
		t.bufs[i] = nil
	}
	clear(t.out)
	t.bufs, t.out, t.own, t.ownUsed = t.bufs[:0], t.out[:0], nil, 0
	t.cmd.Out = nil
}

// recycle makes a task free. Its data was released, or is by this. s.mu is held.
func (s *session) recycle(t *task) {
	t.releaseOut()
	t.in.Release()
	t.pages.Release()
	s.ungrant(t)
	t.ctx.reset()
	t.cmd.In = nil
	clear(t.waiters)
	*t = task{
		cmd: t.cmd, bursts: t.bursts[:0], out: t.out, bufs: t.bufs, waiters: t.waiters[:0], pages: t.pages, next: s.free,
	}
	s.free = t
}

// taskQueue is a queue whose memory is used again.
type taskQueue struct {
	items []*task
	head  int
}

func (q *taskQueue) len() int { return len(q.items) - q.head }

func (q *taskQueue) push(t *task) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, t)
}

// pop returns the first task, or nil.
func (q *taskQueue) pop() *task {
	if q.len() == 0 {
		return nil
	}
	t := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return t
}

func (q *taskQueue) peek() *task { return q.items[q.head] }

// remove takes a task out, if it is in.
func (q *taskQueue) remove(t *task) {
	for i := q.head; i < len(q.items); i++ {
		if q.items[i] == t {
			copy(q.items[i:], q.items[i+1:])
			q.items[len(q.items)-1] = nil
			q.items = q.items[:len(q.items)-1]
			return
		}
	}
}

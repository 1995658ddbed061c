package pdu

import (
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// pipeRoom is how many bytes a pipe takes of which all pages are whole: what everybody may ask for, unless the system's
	// administrator says less; pipe(7).
	pipeRoom = 1 << 20
	// maxPipes is how many pipes there are at once at most, each with two descriptors, and maxIdle how many of them are kept
	// while nobody uses them.
	maxPipes = 64
	maxIdle  = 16
)

// Pages is data on its way from a file to a connection without a copy: pipes of the kernel, in which are the pages of the file's
// cache. It is for one goroutine at a time. Its zero value is empty.
type Pages struct {
	pipes []*pipe // of which the first has what is sent next
}

// Splicer is what Pages are filled from.
type Splicer interface {
	// Splice puts up to length bytes at off into the pipe whose end for writing is fd, and returns how many: fewer where the pipe
	// is full, none where that can't be done. Reading them tells why then.
	Splice(fd int, off, length int64) int64
}

// Fill puts length bytes at off into empty Pages, or returns false where that can't be done, with the Pages empty.
func (p *Pages) Fill(from Splicer, off, length int64) bool {
	for length > 0 {
		to := takePipe()
		if to == nil {
			p.Release()
			return false
		}
		p.pipes = append(p.pipes, to)
		if to.held = from.Splice(to.w, off, min(length, pipeRoom)); to.held <= 0 {
			p.Release()
			return false
		}
		off, length = off+to.held, length-to.held
	}
	return true
}

// Empty reports whether nothing is in the Pages.
func (p *Pages) Empty() bool { return len(p.pipes) == 0 }

// Release gives back what is left, and the pipes.
func (p *Pages) Release() {
	for i, held := range p.pipes {
		held.giveBack()
		p.pipes[i] = nil
	}
	p.pipes = p.pipes[:0]
}

// send sends at most n bytes to a connection, and returns how many.
func (p *Pages) send(fd uintptr, n int, more bool) (int, error) {
	from := p.pipes[0]
	flags := unix.SPLICE_F_NONBLOCK
	if more || int64(n) > from.held {
		flags |= unix.SPLICE_F_MORE
	}
	sent, err := unix.Splice(from.r, nil, int(fd), nil, int(min(int64(n), from.held)), flags)
	if err == nil && sent == 0 {
		err = unix.EIO // what was put in is not there
	}
	if err != nil {
		return 0, err
	}
	if from.held -= sent; from.held == 0 {
		from.giveBack()
		p.pipes = p.pipes[:copy(p.pipes, p.pipes[1:])]
	}
	return int(sent), nil
}

// pipe is a pipe that is used again and again.
type pipe struct {
	r, w int
	held int64 // bytes that are in it
}

var pipes struct {
	mu   sync.Mutex
	all  int
	idle []*pipe
}

// takePipe returns an empty pipe, or nil where there are too many.
func takePipe() *pipe {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	if last := len(pipes.idle) - 1; last >= 0 {
		p := pipes.idle[last]
		pipes.idle = pipes.idle[:last]
		return p
	}
	if pipes.all == maxPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	if room, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeRoom); err != nil || room < pipeRoom {
		p.close()
		return nil
	}
	pipes.all++
	return p
}

// giveBack lets others have the pipe, if it is empty.
func (p *pipe) giveBack() {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	if p.held == 0 && len(pipes.idle) < maxIdle {
		pipes.idle = append(pipes.idle, p)
		return
	}
	pipes.all--
	p.close()
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

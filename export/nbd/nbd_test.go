package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"elstore/volume/nbdwire"
)

// disk is a medium in memory.
type disk struct {
	mu      sync.Mutex
	data    []byte
	flushes int
	fail    error
	hold    chan struct{} // where it is set, writes wait for its end
	waiting atomic.Int32
}

func newDisk() *disk { return &disk{data: make([]byte, 1<<20)} }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copy(p, d.data[off:]), d.fail
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.hold != nil {
		d.waiting.Add(1)
		<-d.hold
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return copy(d.data[off:], p), d.fail
}

func (d *disk) Flush(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
	return d.fail
}

func (d *disk) Discard(off, length int64) error { return d.WriteZeroes(off, length, true) }

func (d *disk) WriteZeroes(off, length int64, _ bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.data[off : off+length])
	return d.fail
}

func (d *disk) Size() int64 { return int64(len(d.data)) }

// peer plays a client.
type peer struct {
	t    *testing.T
	conn net.Conn
	end  chan error // what Serve returned
	stop context.CancelFunc
}

func dial(t *testing.T, e Export) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	p := &peer{t: t, conn: ours, end: make(chan error, 1), stop: stop}
	go func() { p.end <- Serve(ctx, theirs, e) }()
	t.Cleanup(func() { stop(); ours.Close() })
	if err := ours.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) read(n int) []byte {
	p.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(p.conn, b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) greet(flags uint32) {
	p.t.Helper()
	if got := p.read(18); string(got[:8]) != "NBDMAGIC" || string(got[8:16]) != "IHAVEOPT" || binary.BigEndian.Uint16(got[16:]) != 3 {
		p.t.Fatalf("greeted with % x", got)
	}
	p.write(binary.BigEndian.AppendUint32(nil, flags))
}

func (p *peer) option(option uint32, data []byte) {
	p.t.Helper()
	b := binary.BigEndian.AppendUint64(nil, nbdwire.OptionMagic)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	p.write(append(b, data...))
}

func (p *peer) reply() (reply uint32, data []byte) {
	p.t.Helper()
	h := p.read(20)
	return binary.BigEndian.Uint32(h[12:]), p.read(int(binary.BigEndian.Uint32(h[16:])))
}

func goFor(name string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	return append(append(b, name...), 0, 1, 0, nbdwire.InfoBlockSize)
}

// begin does the handshake and returns the transmission flags.
func (p *peer) begin() (flags uint16) {
	p.t.Helper()
	p.greet(nbdwire.FixedNewstyle | nbdwire.NoZeroes)
	p.option(nbdwire.OptGo, goFor(""))
	for {
		switch reply, data := p.reply(); {
		case reply == nbdwire.RepAck:
			return flags
		case reply != nbdwire.RepInfo:
			p.t.Fatalf("reply %#x", reply)
		case binary.BigEndian.Uint16(data) == nbdwire.InfoExport:
			flags = binary.BigEndian.Uint16(data[10:])
		}
	}
}

// do runs a request and returns its error number, and the data of a read.
func (p *peer) do(command nbdwire.Command, flags uint16, offset uint64, length uint32, data []byte) (errno syscall.Errno, out []byte) {
	p.t.Helper()
	p.write(requestOf(command, flags, offset, length, data))
	h := p.read(16)
	if binary.BigEndian.Uint32(h) != nbdwire.SimpleMagic || string(h[8:]) != "cookie!!" {
		p.t.Fatalf("reply % x", h)
	}
	errno = syscall.Errno(binary.BigEndian.Uint32(h[4:]))
	if errno == 0 && command == nbdwire.CmdRead {
		out = p.read(int(length))
	}
	return errno, out
}

func requestOf(command nbdwire.Command, flags uint16, offset uint64, length uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, nbdwire.RequestMagic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(command))
	b = append(b, "cookie!!"...)
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, data...)
}

// shutGate refuses everything.
type shutGate struct{}

func (shutGate) Enter(context.Context) bool { return false }
func (shutGate) Leave()                     { panic("nothing was let in") }

func TestRequests(t *testing.T) {
	sector := bytes.Repeat([]byte{7}, 512)
	tests := []struct {
		name    string
		change  func(e *Export, d *disk)
		command nbdwire.Command
		flags   uint16
		offset  uint64
		length  uint32
		want    syscall.Errno
	}{
		{"read", nil, nbdwire.CmdRead, 0, 512, 1024, 0},
		{"read the end", nil, nbdwire.CmdRead, 0, 1<<20 - 512, 512, 0},
		{"read past the end", nil, nbdwire.CmdRead, 0, 1<<20 - 512, 1024, syscall.EINVAL},
		{"read from far off", nil, nbdwire.CmdRead, 0, 1 << 63, 512, syscall.EINVAL},
		{"read too much", nil, nbdwire.CmdRead, 0, 0, maxData + 512, syscall.EINVAL},
		{"write", nil, nbdwire.CmdWrite, 0, 512, 512, 0},
		{"write through", nil, nbdwire.CmdWrite, nbdwire.FlagFUA, 512, 512, 0},
		{"write past the end", nil, nbdwire.CmdWrite, 0, 1 << 20, 512, syscall.ENOSPC},
		{"write what is read-only", func(e *Export, _ *disk) { e.ReadOnly = true }, nbdwire.CmdWrite, 0, 0, 512, syscall.EPERM},
		{"write without the pen", func(e *Export, _ *disk) { e.Gate = shutGate{} }, nbdwire.CmdWrite, 0, 0, 512, syscall.EPERM},
		{"read without the pen", func(e *Export, _ *disk) { e.Gate = shutGate{} }, nbdwire.CmdRead, 0, 0, 512, 0},
		{"write to a full disk", func(_ *Export, d *disk) { d.fail = syscall.ENOSPC }, nbdwire.CmdWrite, 0, 0, 512, syscall.ENOSPC},
		{"read a broken disk", func(_ *Export, d *disk) { d.fail = errors.New("broken") }, nbdwire.CmdRead, 0, 0, 512, syscall.EIO},
		{"flush", nil, nbdwire.CmdFlush, 0, 0, 0, 0},
		{"trim", nil, nbdwire.CmdTrim, 0, 0, 4096, 0},
		{"trim past the end", nil, nbdwire.CmdTrim, 0, 1 << 20, 512, syscall.EINVAL},
		{"write zeroes", nil, nbdwire.CmdWriteZeroes, nbdwire.FlagNoHole, 0, 1 << 20, 0},
		{"an unknown command", nil, 9, 0, 0, 0, syscall.EINVAL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			var counted, failures atomic.Int32
			e := Export{Name: "v", Device: d, Count: func(_ Kind, _ int, failed bool, _ time.Duration) {
				counted.Add(1)
				if failed {
					failures.Add(1)
				}
			}}
			if tt.change != nil {
				tt.change(&e, d)
			}
			p := dial(t, e)
			if flags := p.begin(); flags&nbdwire.ReadOnly != 0 != e.ReadOnly {
				t.Errorf("flags %#x", flags)
			}
			var data []byte
			if tt.command == nbdwire.CmdWrite {
				data = sector
			}
			got, _ := p.do(tt.command, tt.flags, tt.offset, tt.length, data)
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if tt.command == nbdwire.CmdWrite && (d.data[512] == 7) != (got == 0) && tt.offset == 512 {
				t.Error("the write did otherwise than it was answered")
			}
			if through := tt.flags&nbdwire.FlagFUA != 0 && tt.command == nbdwire.CmdWrite; d.flushes != 1 && (through || tt.command == nbdwire.CmdFlush) {
				t.Errorf("%d flushes", d.flushes)
			}
			if counted.Load() != 1 || (failures.Load() == 1) != (tt.want != 0) {
				t.Errorf("counted %d, %d of them failed", counted.Load(), failures.Load())
			}
			p.write(requestOf(nbdwire.CmdDisconnect, 0, 0, 0, nil))
			if err := <-p.end; err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	e := Export{Name: "volume", Device: newDisk()}
	t.Run("options", func(t *testing.T) {
		p := dial(t, e)
		p.greet(nbdwire.FixedNewstyle)
		for _, c := range []struct {
			option uint32
			data   []byte
			want   uint32
		}{
			{8, nil, nbdwire.RepUnsup},
			{nbdwire.OptList, []byte{1}, nbdwire.RepInvalid},
			{nbdwire.OptGo, nil, nbdwire.RepInvalid},
			{nbdwire.OptGo, goFor("other"), nbdwire.RepUnknown},
			{nbdwire.OptInfo, append(goFor("volume"), 0), nbdwire.RepInvalid},
			{nbdwire.OptGo, []byte{0xff, 0xff, 0xff, 0xff, 0, 0}, nbdwire.RepInvalid},
			{nbdwire.OptGo, make([]byte, maxOption+1), nbdwire.RepTooBig},
		} {
			p.option(c.option, c.data)
			if got, _ := p.reply(); got != c.want {
				t.Errorf("option %d % .20x: reply %#x, want %#x", c.option, c.data, got, c.want)
			}
		}
		p.option(nbdwire.OptList, nil)
		if got, data := p.reply(); got != nbdwire.RepServer || string(data[4:]) != "volume" {
			t.Errorf("list: %#x %q", got, data)
		}
		if got, _ := p.reply(); got != nbdwire.RepAck {
			t.Errorf("list: %#x", got)
		}
		p.option(nbdwire.OptExportName, []byte("whatever"))
		if b := p.read(8 + 2 + 124); binary.BigEndian.Uint64(b) != 1<<20 {
			t.Errorf("% x", b)
		}
		if errno, _ := p.do(nbdwire.CmdRead, 0, 0, 512, nil); errno != 0 {
			t.Error(errno)
		}
	})
	t.Run("abort", func(t *testing.T) {
		p := dial(t, e)
		p.greet(nbdwire.FixedNewstyle)
		p.option(nbdwire.OptAbort, nil)
		if got, _ := p.reply(); got != nbdwire.RepAck {
			t.Errorf("%#x", got)
		}
		if err := <-p.end; err != nil {
			t.Error(err)
		}
	})
	for name, say := range map[string]func(p *peer){
		"an old client":        func(p *peer) { p.greet(0) },
		"unknown flags":        func(p *peer) { p.greet(nbdwire.FixedNewstyle | 8) },
		"nonsense":             func(p *peer) { p.greet(nbdwire.FixedNewstyle); p.write(make([]byte, 16)) },
		"nonsense afterwards":  func(p *peer) { p.begin(); p.write(make([]byte, nbdwire.RequestSize)) },
		"a write that is huge": func(p *peer) { p.begin(); p.write(requestOf(nbdwire.CmdWrite, 0, 0, maxData+1, nil)) },
		"options without end": func(p *peer) {
			p.greet(nbdwire.FixedNewstyle)
			for range maxOptions {
				p.option(99, nil)
				p.reply()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, e)
			say(p)
			if err := <-p.end; err == nil {
				t.Error("it is taken")
			}
		})
	}
}

// When Serve returned, because its context ended, no write is under way.
func TestEndWaitsForWhatRuns(t *testing.T) {
	d := newDisk()
	d.hold = make(chan struct{})
	p := dial(t, Export{Device: d})
	p.begin()
	for range 4 {
		p.write(requestOf(nbdwire.CmdWrite, 0, 0, 512, make([]byte, 512)))
	}
	for d.waiting.Load() < 4 {
		select {
		case err := <-p.end:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	p.stop()
	select {
	case <-p.end:
		t.Error("it ended with writes under way")
	case <-time.After(10 * time.Millisecond):
	}
	close(d.hold)
	<-p.end
}

func FuzzServe(f *testing.F) {
	greeting := binary.BigEndian.AppendUint32(nil, nbdwire.FixedNewstyle|nbdwire.NoZeroes)
	option := func(option uint32, data []byte) []byte {
		b := binary.BigEndian.AppendUint64(nil, nbdwire.OptionMagic)
		b = binary.BigEndian.AppendUint32(b, option)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		return append(b, data...)
	}
	begun := append(bytes.Clone(greeting), option(nbdwire.OptGo, goFor(""))...)
	f.Add(append(bytes.Clone(begun), requestOf(nbdwire.CmdWrite, nbdwire.FlagFUA, 0, 512, make([]byte, 512))...))
	f.Add(append(bytes.Clone(begun), requestOf(nbdwire.CmdRead, 0, 1<<20-512, 1024, nil)...))
	f.Add(append(bytes.Clone(greeting), option(nbdwire.OptList, nil)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		end := make(chan error, 1)
		go func() { end <- Serve(context.Background(), theirs, Export{Name: "v", Device: newDisk()}) }()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		_, _ = ours.Write(data)
		ours.Close()
		<-end
	})
}

package iscsi

import (
	"slices"
	"testing"

	"elstore/export/iscsi/pdu"
)

// TestTaskAttributes holds up the first write and looks which commands get to the device meanwhile.
func TestTaskAttributes(t *testing.T) {
	for _, c := range []struct {
		name    string
		attr    pdu.Attribute
		want    []int64 // reads that pass a write at the device
		expects int
	}{
		{"simple ones pass each other", pdu.Simple, []int64{20, 21}, 2},
		{"an ordered one waits, and what is behind it", pdu.Ordered, nil, 0},
		{"one at the head of the queue passes", pdu.HeadOfQueue, []int64{20, 21}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe()).login().ready()
			at := make(chan int64, 16)
			open := make(chan struct{})
			s.disk.hold(func(op string, off int64) {
				if op == "write" {
					at <- -1
					<-open
					return
				}
				at <- off / blockSize
			})
			first := p.start(write10(1, 1, make([]byte, blockSize)))
			<-at
			r := read10(20, 1)
			r.attr = c.attr
			second := p.start(r)
			third := p.start(read10(21, 1))
			tags := []uint32{first, second, third}
			var passed []int64
			for range c.expects {
				passed = append(passed, <-at)
				p.skipOne(t, tags)
			}
			slices.Sort(passed)
			if !slices.Equal(passed, c.want) {
				t.Errorf("%v passed, want %v", passed, c.want)
			}
			p.nop() // what was sent before has been taken in
			if len(at) != 0 {
				t.Error("one more passed")
			}
			close(open)
			for range 3 - c.expects {
				p.skipOne(t, tags)
			}
		})
	}
}

// skipOne takes the answer to one of the tags.
func (p *peer) skipOne(t *testing.T, tags []uint32) {
	t.Helper()
	if in := p.next(); !slices.Contains(tags, in.h.InitiatorTaskTag()) {
		t.Fatalf("got %v", in.h.Opcode())
	}
}

// nop pings the target.
func (p *peer) nop() {
	p.t.Helper()
	p.itt++
	n := pdu.NOPOut{Immediate: true, InitiatorTaskTag: p.itt, TargetTransferTag: pdu.ReservedTag, CmdSN: p.cmdSN}
	var h pdu.BHS
	n.Encode(&h)
	p.send(&h, nil)
	p.want(pdu.OpNOPIn)
}

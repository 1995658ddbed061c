package iscsi

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"elstore/export/iscsi/pdu"
)

const (
	soakPeers  = 8
	soakSlots  = 8                                  // of each peer; an operation stays within one
	soakBlocks = diskBlocks / soakPeers / soakSlots // of a slot
	soakBytes  = soakBlocks * blockSize             // of a slot
	soakRounds = 250                                // operations of each peer
)

// slot is a piece of the disk that one operation at a time uses, and what is to be there.
type slot struct {
	first int // block
	data  []byte
	known bool // false after an abort: a write may have landed, or not
	busy  bool
}

// operation is a command under way.
type operation struct {
	slot  *slot
	off   int // bytes into the slot
	data  []byte
	write bool
	got   []byte
	abort uint32 // the tag of the function that aborts it, or 0
}

// soaker is a peer that has many commands under way, and checks each answer.
type soaker struct {
	*peer

	rnd   *rand.Rand
	slots [soakSlots]slot
	tasks map[uint32]*operation
	kills map[uint32]uint32 // tag of an abort to that of the task
}

// soakTime is how long the long form goes on with each kind of disk.
var soakTime = flag.Duration("soak", 0, "how long TestSoak goes on with each kind of disk; 0 is for its short form")

// TestMain lets as many subtests run at once as the soak has sessions, however few processors there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if n, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String()); err == nil && n < soakPeers {
		_ = flag.Set("test.parallel", strconv.Itoa(soakPeers)) // it takes any number
	}
	os.Exit(m.Run())
}

// TestSoak has random commands from several sessions at once, each in its own part of the disk, against a model.
func TestSoak(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	eachWay(t, func(t *testing.T, options ...option) {
		s := newStage(t, append(options, func(c *Config, _ *TargetConfig) { c.SessionBytes, c.Workers = 96<<10, 4 })...)
		s.attach(AttachmentConfig{Shared: true})
		for i := range soakPeers {
			p := newPeer(t, s.pipe())
			p.isid[4] = byte(i)
			p.name = fmt.Sprintf("%s-%d", initiatorName, i)
			if i%2 == 1 {
				p.keys["HeaderDigest"], p.keys["DataDigest"] = "CRC32C", "CRC32C"
			}
			p.keys["MaxBurstLength"], p.keys["FirstBurstLength"] = "16384", "8192"
			p.keys["MaxRecvDataSegmentLength"] = "12288"
			p.keys["InitialR2T"] = pdu.FormatBool(i%3 == 0)
			p.login().ready()
			k := &soaker{
				peer: p, rnd: rand.New(rand.NewPCG(seed, uint64(i))), tasks: map[uint32]*operation{}, kills: map[uint32]uint32{},
			}
			for j := range k.slots {
				k.slots[j] = slot{first: (i*soakSlots + j) * soakBlocks, data: make([]byte, soakBytes), known: true}
			}
			t.Run(fmt.Sprint("peer ", i), func(t *testing.T) {
				t.Parallel()
				p.t = t
				k.run(i%3 == 0)
				for _, slot := range k.slots {
					if slot.known && !bytes.Equal(s.disk.bytes(slot.first*blockSize, soakBytes), slot.data) {
						t.Errorf("the disk is not what was written at block %d", slot.first)
					}
				}
			})
		}
	})
}

func (k *soaker) run(initialR2T bool) {
	began := time.Now()
	for n := 0; ; {
		more := n < soakRounds || time.Since(began) < *soakTime
		if !more && len(k.tasks)+len(k.kills) == 0 {
			return
		}
		if more && len(k.tasks) < soakSlots-1 && k.rnd.IntN(4) > 0 {
			n++
			k.begin(initialR2T)
			continue
		}
		if len(k.tasks)+len(k.kills) > 0 {
			k.take(k.next())
		}
	}
}

// begin sends a random command.
func (k *soaker) begin(initialR2T bool) {
	s := &k.slots[k.rnd.IntN(soakSlots)]
	for s.busy {
		s = &k.slots[k.rnd.IntN(soakSlots)]
	}
	s.busy = true
	blocks := 1 + k.rnd.IntN(soakBlocks)
	first := k.rnd.IntN(soakBlocks - blocks + 1)
	o := &operation{slot: s, off: first * blockSize, write: k.rnd.IntN(2) == 0}
	if !s.known { // written as a whole it is known again
		o.write, o.off, blocks, first = true, 0, soakBlocks, 0
	}
	length := blocks * blockSize
	if !o.write {
		k.tasks[k.start(read10(s.first+first, blocks))] = o
		k.maybeAbort(o)
		return
	}
	o.data = make([]byte, length)
	for i := range o.data {
		o.data[i] = byte(k.rnd.Uint32())
	}
	burst := min(length, 8192)
	immediate := k.rnd.IntN(burst + 1)
	w := write10(s.first+first, blocks, o.data[:immediate])
	w.more = !initialR2T && immediate < burst && k.rnd.IntN(2) == 0
	itt := k.start(w)
	k.tasks[itt] = o
	if w.more {
		k.burst(itt, pdu.ReservedTag, o.data, immediate, burst)
	}
	k.maybeAbort(o)
}

// burst sends a sequence of Data-Out PDUs.
func (k *soaker) burst(itt, tag uint32, data []byte, off, end int) {
	for sn := pdu.SN(0); off < end; sn++ {
		n := min(1+k.rnd.IntN(6000), end-off)
		k.dataOut(itt, tag, sn, off, data[off:off+n], off+n == end)
		off += n
	}
}

// maybeAbort aborts the command that was sent last, at times.
func (k *soaker) maybeAbort(o *operation) {
	if k.rnd.IntN(12) > 0 {
		return
	}
	itt := k.itt
	o.abort = k.manage(pdu.AbortTask, itt, k.cmdSN-1)
	k.kills[o.abort] = itt
}

// take works on a PDU of the target.
func (k *soaker) take(in reply) {
	itt := in.h.InitiatorTaskTag()
	if in.h.Opcode() == pdu.OpNOPIn { // it was quiet for long
		k.pong(in.h.TargetTransferTag())
		return
	}
	if in.h.Opcode() == pdu.OpTaskMgmtResponse {
		ref := k.kills[itt]
		delete(k.kills, itt)
		if o := k.tasks[ref]; o != nil { // it was not answered before, and never will be
			if o.write {
				o.slot.known = false
			}
			k.end(ref, o)
		}
		return
	}
	o := k.tasks[itt]
	if o == nil {
		k.t.Fatalf("%v of a task that has ended", in.h.Opcode())
	}
	switch in.h.Opcode() {
	case pdu.OpR2T:
		var r pdu.R2T
		r.Decode(&in.h)
		k.burst(itt, r.TargetTransferTag, o.data, int(r.BufferOffset), int(r.BufferOffset+r.DesiredDataTransferLength))
	case pdu.OpDataIn:
		var d pdu.DataIn
		d.Decode(&in.h)
		if int(d.BufferOffset) != len(o.got) {
			k.t.Fatalf("Data-In at %d, want %d", d.BufferOffset, len(o.got))
		}
		o.got = append(o.got, in.data...)
		if d.HasStatus {
			if d.Status != 0 || !bytes.Equal(o.got, o.slot.data[o.off:o.off+len(o.got)]) {
				k.t.Fatalf("a read of %d bytes ended with %#x, or brought something else", len(o.got), d.Status)
			}
			k.end(itt, o)
		}
	case pdu.OpSCSIResponse:
		var r pdu.SCSIResponse
		r.Decode(&in.h)
		if r.Status != 0 || !o.write {
			k.t.Fatalf("%+v", r)
		}
		copy(o.slot.data[o.off:], o.data)
		if len(o.data) == soakBytes {
			o.slot.known = true
		}
		k.end(itt, o)
	default:
		k.t.Fatalf("got %v", in.h.Opcode())
	}
}

func (k *soaker) end(itt uint32, o *operation) {
	delete(k.tasks, itt)
	o.slot.busy = false
}

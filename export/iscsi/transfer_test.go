package iscsi

import (
	"bytes"
	"maps"
	"testing"

	"elstore/export/iscsi/pdu"
)

// eachDisk runs a test with a disk whose commands go to workers, and with one that is answered in line.
func eachDisk(t *testing.T, f func(t *testing.T, options ...option)) {
	t.Run("workers", func(t *testing.T) { f(t) })
	t.Run("in line", func(t *testing.T) { f(t, withQuickDisk) })
}

// eachWay is eachDisk, and one whose large reads are not copied.
func eachWay(t *testing.T, f func(t *testing.T, options ...option)) {
	eachDisk(t, f)
	t.Run("pages", func(t *testing.T) { f(t, withPages) })
}

func TestWriteForms(t *testing.T) {
	for _, c := range []struct {
		name        string
		keys        map[string]string
		blocks      int
		immediate   int // bytes
		unsolicited int // bytes after those
	}{
		{name: "all immediate", blocks: 8, immediate: 4096},
		{name: "one R2T", blocks: 8},
		{name: "immediate and R2T", blocks: 16, immediate: 4096},
		{name: "unsolicited alone", blocks: 16, unsolicited: 8192},
		{name: "immediate and unsolicited", blocks: 16, immediate: 512, unsolicited: 8192 - 512},
		{name: "first burst and several R2Ts", blocks: 1500, immediate: 8192, unsolicited: 65536 - 8192},
		{name: "less than the first burst", blocks: 1000, unsolicited: 1024},
		{name: "initial R2T", keys: map[string]string{"InitialR2T": "Yes"}, blocks: 300, immediate: 1024},
		{name: "no immediate data", keys: map[string]string{"ImmediateData": "No"}, blocks: 300, unsolicited: 2048},
		{name: "one R2T at a time", keys: map[string]string{"MaxOutstandingR2T": "1", "MaxBurstLength": "4096", "FirstBurstLength": "4096"}, blocks: 100},
		{name: "many R2Ts", keys: map[string]string{"MaxOutstandingR2T": "8", "MaxBurstLength": "1024", "FirstBurstLength": "512"}, blocks: 100},
		{name: "with digests", keys: map[string]string{"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}, blocks: 400, immediate: 512, unsolicited: 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, options ...option) {
				s := newStage(t, options...)
				s.attach(AttachmentConfig{})
				p := newPeer(t, s.pipe())
				maps.Copy(p.keys, c.keys)
				p.login().ready()
				data := pattern(c.blocks*blockSize, 3)
				w := write10(5, c.blocks, data[:c.immediate])
				w.more = c.unsolicited > 0
				itt := p.start(w)
				off := c.immediate
				for sn := pdu.SN(0); off < c.immediate+c.unsolicited; sn++ {
					n := min(1000, c.immediate+c.unsolicited-off)
					p.dataOut(itt, pdu.ReservedTag, sn, off, data[off:off+n], off+n == c.immediate+c.unsolicited)
					off += n
				}
				p.answerR2Ts(itt, data, off)
				if got := s.disk.bytes(5*blockSize, len(data)); !bytes.Equal(got, data) {
					t.Fatal("the disk has other bytes than were written")
				}
				if e := p.do(read10(5, c.blocks)); e.status != 0 || !bytes.Equal(e.data, data) || e.over || e.under {
					t.Fatalf("reading back gave %v", e)
				}
			})
		})
	}
}

// answerR2Ts sends what R2Ts ask for, from off on, and wants status GOOD after it.
func (p *peer) answerR2Ts(itt uint32, data []byte, off int) {
	p.t.Helper()
	for r2tSN := pdu.SN(0); ; r2tSN++ {
		in := p.next()
		if in.h.Opcode() == pdu.OpSCSIResponse {
			var r pdu.SCSIResponse
			r.Decode(&in.h)
			if r.Status != 0 || r.Overflow || r.Underflow || off != len(data) || r.ExpDataSN != r2tSN {
				p.t.Fatalf("after %d of %d bytes: %+v", off, len(data), r)
			}
			return
		}
		var r pdu.R2T
		r.Decode(&in.h)
		if in.h.Opcode() != pdu.OpR2T || r.R2TSN != r2tSN || int(r.BufferOffset) != off {
			p.t.Fatalf("at %d: %v %+v", off, in.h.Opcode(), r)
		}
		for sn, end := pdu.SN(0), off+int(r.DesiredDataTransferLength); off < end; sn++ {
			n := min(5000, end-off)
			p.dataOut(itt, r.TargetTransferTag, sn, off, data[off:off+n], off+n == end)
			off += n
		}
	}
}

func TestResiduals(t *testing.T) {
	data := pattern(4096, 1)
	for _, c := range []struct {
		name    string
		command command
		want    string
	}{
		{"read exact", read10(0, 2), "status 0x00"},
		{"read underflow", command{cdb: cdb10(0x28, 0, 1), read: true, expected: 1024}, "status 0x00 over false under true 512"},
		{"read overflow", command{cdb: cdb10(0x28, 0, 2), read: true, expected: 512}, "status 0x00 over true under false 512"},
		{"read nothing", command{cdb: cdb10(0x28, 0, 0), read: true, expected: 512}, "status 0x00 over false under true 512"},
		{"read without room", command{cdb: cdb10(0x28, 0, 1)}, "status 0x00 over true under false 512"},
		{"write exact", write10(0, 2, data[:1024]), "status 0x00"},
		{"write underflow", command{cdb: cdb10(0x2a, 0, 1), write: true, expected: 1024, data: data[:1024]}, "status 0x00 over false under true 512"},
		{"write overflow", command{cdb: cdb10(0x2a, 0, 2), write: true, expected: 512, data: data[:512]}, "status 0x00 over true under false 512"},
		{"write nothing", command{cdb: cdb10(0x2a, 0, 0), write: true, expected: 512, data: data[:512]}, "status 0x00 over false under true 512"},
		{"inquiry underflow", command{cdb: []byte{0x12, 0, 0, 0, 36}, read: true, expected: 255}, "status 0x00 over false under true 219"},
		{"past the end", read10(diskBlocks, 1), "status 0x02 sense 5/21/00 over false under true 512"},
		{"no such LUN", command{cdb: cdb10(0x28, 0, 1), lun: 1 << 48, read: true, expected: 512}, "status 0x02 sense 5/25/00 over false under true 512"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachDisk(t, func(t *testing.T, options ...option) {
				s := newStage(t, options...)
				s.attach(AttachmentConfig{})
				p := newPeer(t, s.pipe()).login().ready()
				if got := p.do(c.command).String(); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				p.ready() // the session is as it was
			})
		})
	}
}

func TestWrongData(t *testing.T) {
	data := pattern(8192, 1)
	for _, c := range []struct {
		name string
		send func(p *peer, itt uint32, r pdu.R2T)
		want string
	}{
		{"wrong DataSN", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, r.TargetTransferTag, 5, 0, data[:8192], true)
		}, "sense b/47/05"},
		{"DataSN twice", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, r.TargetTransferTag, 0, 0, data[:4096], false)
			p.dataOut(itt, r.TargetTransferTag, 0, 4096, data[:4096], true)
		}, "sense b/47/05"},
		{"wrong offset", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, r.TargetTransferTag, 0, 512, data[:4096], true)
		}, "sense b/0c/0d"},
		{"too little", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, r.TargetTransferTag, 0, 0, data[:4096], true)
		}, "sense b/0c/0d"},
		{"too much", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, r.TargetTransferTag, 0, 0, make([]byte, 8704), true)
		}, "sense b/0c/0d"},
		{"unsolicited after an R2T", func(p *peer, itt uint32, r pdu.R2T) {
			p.dataOut(itt, pdu.ReservedTag, 0, 0, data[:512], true)
			p.dataOut(itt, r.TargetTransferTag, 0, 0, data[:8192], true)
		}, "sense b/0c/0c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe()).login().ready()
			itt := p.start(write10(0, 16, nil))
			var r pdu.R2T
			in := p.want(pdu.OpR2T)
			r.Decode(&in.h)
			// What belongs to nobody is passed over.
			p.dataOut(itt+7, r.TargetTransferTag, 0, 0, data[:512], true)
			p.dataOut(itt, r.TargetTransferTag+7, 0, 0, data[:512], true)
			c.send(p, itt, r)
			if got := p.finish(itt).String(); got != "status 0x02 "+c.want+" over false under true 8192" {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if s.disk.landed() != 0 {
				t.Error("something was written")
			}
			if e := p.do(write10(0, 1, data[:512])); e.status != 0 {
				t.Errorf("the next write: %v", e)
			}
		})
	}
}

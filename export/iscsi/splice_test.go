package iscsi

import (
	"bytes"
	"maps"
	"testing"

	"elstore/export/iscsi/pdu"
)

// TestSplicedReads reads through pipes where that can be done, and as always where not.
func TestSplicedReads(t *testing.T) {
	const large = 2500 // blocks: more than one pipe takes
	for _, c := range []struct {
		name    string
		keys    map[string]string
		most    int64
		workers bool // for want of a page cache that can be asked
		read    command
		spliced bool
	}{
		{name: "large", read: read10(7, large), spliced: true},
		{name: "by a worker", workers: true, read: read10(7, large), spliced: true},
		{name: "as short as it may be", read: read10(0, quickMost/blockSize+1), spliced: true},
		{name: "too short", read: read10(0, quickMost/blockSize)},
		{name: "in pieces", most: 100_001, read: read10(1, large), spliced: true},
		{name: "in more pieces than there are pipes", most: 1000, read: read10(1, large)},
		{name: "of a medium that can't", most: -1, read: read10(1, large)},
		{name: "of a medium that can't, by a worker", most: -1, workers: true, read: read10(1, large)},
		{name: "short segments", keys: map[string]string{"MaxRecvDataSegmentLength": "1000"}, read: read10(3, 400), spliced: true},
		{name: "with header digests", keys: map[string]string{"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}, read: read10(3, large)},
		{name: "FUA", read: command{cdb: []byte{0x28, 0x08, 0, 0, 0, 3, 0, 2, 0, 0}, read: true, expected: 512 * blockSize}},
		{name: "less than the command says", read: command{cdb: cdb10(0x28, 0, large), read: true, expected: 200_000}, spliced: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := &paged{most: c.most}
			s := newStage(t, func(_ *Config, target *TargetConfig) {
				disk.quick = quick{target.Device.(*ram)}
				target.Device = disk
				if c.workers {
					target.Device = struct {
						*ram
						pdu.Splicer
					}{disk.ram, disk}
				}
			})
			copy(s.disk.data, pattern(len(s.disk.data), 9))
			s.attach(AttachmentConfig{})
			p := newPeer(t, s.pipe())
			maps.Copy(p.keys, c.keys)
			p.login().ready()
			first := int(c.read.cdb[4])<<8 | int(c.read.cdb[5])
			for range 3 {
				e := p.do(c.read)
				if want := s.disk.bytes(first*blockSize, c.read.expected); e.status != 0 || !bytes.Equal(e.data, want) {
					t.Fatalf("it ends with %v and %d bytes", e, len(e.data))
				}
			}
			if n := disk.spliced.Load(); (n == int64(3*c.read.expected)) != c.spliced {
				t.Errorf("%d bytes went through pipes", n)
			}
		})
	}
}

// TestOrderedCommandsEndSplicing: what was read before an ordered write must not have what that writes.
func TestOrderedCommandsEndSplicing(t *testing.T) {
	s := newStage(t, withPages)
	s.attach(AttachmentConfig{})
	p := newPeer(t, s.pipe()).login().ready()
	spliced := &s.target.cfg.Device.(*paged).spliced
	p.do(read10(0, 512))
	if spliced.Load() != 512*blockSize {
		t.Fatalf("%d bytes went through pipes", spliced.Load())
	}
	w := write10(0, 1, make([]byte, blockSize))
	w.attr = pdu.Ordered
	if e := p.do(w); e.status != 0 {
		t.Fatal(e)
	}
	if e := p.do(read10(0, 512)); e.status != 0 || spliced.Load() != 512*blockSize {
		t.Errorf("%v, and %d bytes went through pipes", e, spliced.Load())
	}
}

// TestSplicedReadsThatAreNotTaken ends the connection, and the pipes with what is in them are not used again.
func TestSplicedReadsThatAreNotTaken(t *testing.T) {
	s := newStage(t, withPages)
	copy(s.disk.data, pattern(len(s.disk.data), 2))
	s.attach(AttachmentConfig{})
	for range 3 {
		p := newSlowPeer(t, s.pipe(), 0).login().ready()
		for range 16 { // more than sockets hold
			p.start(read10(0, 8000))
		}
		p.conn.Close()
		p.closed()
	}
	p := newPeer(t, s.pipe()).login().ready()
	for i := range 8 {
		if e := p.do(read10(500*i, 500)); e.status != 0 || !bytes.Equal(e.data, s.disk.bytes(500*i*blockSize, 500*blockSize)) {
			t.Fatalf("it ends with %v and %d bytes", e, len(e.data))
		}
	}
}

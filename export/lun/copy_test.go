package lun

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"elstore/export"
	"elstore/export/scsi"
	"elstore/volume"
)

// extendedCopy is an EXTENDED COPY of 64 blocks, from block 0 of a volume to block 64 of another.
func extendedCopy(t *testing.T, from, to volume.ID) (cdb, list []byte) {
	t.Helper()
	list = make([]byte, 16, 16+2*32+28)
	binary.BigEndian.PutUint16(list[2:], 2*32)
	binary.BigEndian.PutUint32(list[8:], 28)
	for _, id := range []volume.ID{from, to} {
		lu, err := scsi.New(t.Context(), scsi.Config{Device: nothing{}, ID: identity(id)})
		if err != nil {
			t.Fatal(err)
		}
		d := lu.Designators()[0]
		p := make([]byte, 32)
		p[0], p[4], p[5], p[7] = 0xe4, d.CodeSet, d.Type, byte(len(d.ID))
		copy(p[8:], d.ID)
		binary.BigEndian.PutUint32(p[28:], 512)
		list = append(list, p...)
	}
	segment := make([]byte, 28)
	segment[0], segment[3], segment[7], segment[11], segment[27] = 2, 24, 1, 64, 64
	list = append(list, segment...)
	cdb = make([]byte, 16)
	cdb[0], cdb[13] = 0x83, byte(len(list))
	return cdb, list
}

// nothing is a Device that nobody reads.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error)    { return 0, nil }
func (nothing) WriteAt([]byte, int64) (int, error)   { return 0, nil }
func (nothing) Flush(context.Context) error          { return nil }
func (nothing) WriteZeroes(int64, int64, bool) error { return nil }
func (nothing) Size() int64                          { return 1 << 20 }

// TestCopiesBetweenVolumes has a machine copy between its two volumes, and reach nobody else's, whatever it says it is.
func TestCopiesBetweenVolumes(t *testing.T) {
	s := newServer(t)
	mine, other, bobs, seconds, cd := s.create(), s.create(), s.create(), s.create(), s.create()
	login := func(id volume.ID, c volume.Client, initiator string, readonly bool) *initiator {
		t.Helper()
		a, err := s.exports.Export(t.Context(), export.Request{Volume: id, Client: c, Initiator: initiator, ReadOnly: &readonly})
		if err != nil {
			t.Fatal(err)
		}
		i := s.login(initiator, a.Access.Target)
		if i == nil {
			t.Fatal("the login is refused")
		}
		return i
	}
	i := login(mine, alice, first, false)
	there := login(other, alice, first, false)
	login(bobs, bob, first, false) // bob's machine says that it is alice's
	login(seconds, alice, second, false)
	login(cd, alice, first, true)
	content := bytes.Repeat([]byte("mine"), 64*512/4)
	if status, _ := i.run(write10(0, 64), content); status != 0 {
		t.Fatalf("status %#x", status)
	}
	for _, c := range []struct {
		name     string
		from, to volume.ID
		status   uint8
	}{
		{"to the other volume", mine, other, 0},
		{"to another client's", mine, bobs, 2},
		{"from another client's", bobs, mine, 2},
		{"to another machine's of the client", mine, seconds, 2},
		{"from another machine's", seconds, mine, 2},
		{"to what may only be read", mine, cd, 2},
		{"from what may be read", cd, mine, 0},
		{"to a volume that there is not", mine, volume.NewID(), 2},
		{"onto itself", mine, mine, 0},
	} {
		before := map[volume.ID][]byte{}
		for _, id := range []volume.ID{mine, other, bobs, seconds, cd} {
			before[id] = s.image(id)
		}
		if status, _ := i.run(extendedCopy(t, c.from, c.to)); status != c.status {
			t.Errorf("%s: status %#x, want %#x", c.name, status, c.status)
		}
		if c.status == 0 {
			copy(before[c.to][64*512:128*512], before[c.from][:64*512])
		}
		for id, want := range before {
			if !bytes.Equal(s.image(id), want) {
				t.Errorf("%s: a volume is not what it should be", c.name)
			}
		}
	}
	if err := s.exports.Unexport(t.Context(), other, alice, "", false); err != nil {
		t.Fatal(err)
	}
	if status, _ := i.run(extendedCopy(t, mine, other)); status != 2 {
		t.Errorf("to a volume whose export has ended: status %#x", status)
	}
	<-there.end
}

func TestCopyGroup(t *testing.T) {
	record := func(c volume.Client, initiator string) *export.Record {
		return &export.Record{Client: c, Initiator: initiator}
	}
	if got := copyGroup(record(alice, "")); got != "" {
		t.Errorf("exports that name no initiator have the group %q", got)
	}
	same := copyGroup(record(alice, first))
	if same == "" || same != copyGroup(record(alice, first)) || same == copyGroup(record(bob, first)) || same == copyGroup(record(alice, second)) {
		t.Errorf("the group is %q", same)
	}
}

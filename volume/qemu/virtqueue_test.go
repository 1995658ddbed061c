package qemu

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// device is the other side of a queue, as the specification has it and a good daemon does it.
type device struct {
	memory []byte
	seen   uint16 // requests taken
	ended  uint16
}

// deviceRequest is what a device finds in its queue.
type deviceRequest struct {
	head   uint16
	kind   virtioKind
	sector uint64
	data   []byte
	status *byte
	writes bool // the device may write data
}

func (d *device) u16(at int) uint16 { return binary.LittleEndian.Uint16(d.memory[at:]) }

// next takes a request, if there is one, and says that it wants to be woken for the one behind it.
func (d *device) next(t testing.TB) (r deviceRequest, ok bool) {
	t.Helper()
	q := virtqueue{memory: d.memory}
	if _, added := q.load(queueAvailable); added == d.seen {
		return r, false
	}
	r.head = d.u16(queueAvailable + 4 + 2*int(d.seen%queueSize))
	d.seen++
	q.store(queueAvailEvent, d.seen, 0)
	var parts [][]byte
	var flags []uint16
	for i, at := 0, r.head; i < 3; i++ {
		b := d.memory[int(at)*16:][:16]
		from, length := binary.LittleEndian.Uint64(b)-vhostBase, binary.LittleEndian.Uint32(b[8:])
		parts = append(parts, d.memory[from:from+uint64(length)])
		flags = append(flags, binary.LittleEndian.Uint16(b[12:]))
		at = binary.LittleEndian.Uint16(b[14:])
	}
	if flags[0] != descriptorNext || flags[1]&descriptorNext == 0 || flags[2] != descriptorWrite || len(parts[0]) != 16 || len(parts[2]) != 1 {
		t.Errorf("a chain with flags %v and lengths %d, %d, %d", flags, len(parts[0]), len(parts[1]), len(parts[2]))
	}
	r.kind = virtioKind(binary.LittleEndian.Uint32(parts[0]))
	r.sector = binary.LittleEndian.Uint64(parts[0][8:])
	r.data, r.status, r.writes = parts[1], &parts[2][0], flags[1]&descriptorWrite != 0
	return r, true
}

// end ends a request. It reports whether the driver wants to be woken.
func (d *device) end(head uint16, written uint32) (wake bool) {
	at := queueUsed + 4 + 8*int(d.ended%queueSize)
	binary.LittleEndian.PutUint32(d.memory[at:], uint32(head))
	binary.LittleEndian.PutUint32(d.memory[at+4:], written)
	d.ended++
	q := virtqueue{memory: d.memory}
	q.store(queueUsed, 0, d.ended)
	event, _ := q.load(queueUsedEvent)
	return event+1 == d.ended
}

func TestVirtqueue(t *testing.T) {
	memory := newTestMemory(t).bytes
	q, d := virtqueue{memory: memory}, device{memory: memory}
	// Often enough for all numbers to begin again.
	for i := range 70_000 {
		place, data := i%queueDepth, 4*pageSize
		kind, sector := virtioKind(i%2), uint64(i)<<30
		copy(memory[data:], "data")
		if wake := q.add(place, kind, sector, data, 512); !wake {
			t.Fatalf("request %d: the device is not woken", i)
		}
		r, ok := d.next(t)
		if !ok || r.kind != kind || r.sector != sector || len(r.data) != 512 || !bytes.HasPrefix(r.data, []byte("data")) || r.writes != (kind == virtioIn) {
			t.Fatalf("request %d is %+v, %v", i, r, ok)
		}
		if _, ok := d.next(t); ok {
			t.Fatal("another request")
		}
		if n := q.ended(); n != 0 || q.status(place) != virtioNone {
			t.Fatalf("%d have ended, with %d", n, q.status(place))
		}
		q.ask()
		*r.status = 7
		if wake := d.end(r.head, 513); !wake {
			t.Fatalf("request %d: the driver is not woken", i)
		}
		if n := q.ended(); n != 1 {
			t.Fatalf("%d have ended", n)
		}
		if got, written, err := q.take(); err != nil || got != place || written != 513 || q.status(place) != 7 {
			t.Fatalf("request %d: %d, %d, %v", i, got, written, err)
		}
	}
}

// Who is at work is not woken, on either side.
func TestVirtqueueWakes(t *testing.T) {
	memory := newTestMemory(t).bytes
	q, d := virtqueue{memory: memory}, device{memory: memory}
	if !q.add(0, virtioIn, 0, 4*pageSize, 512) {
		t.Error("the first wakes")
	}
	if q.add(1, virtioIn, 0, 5*pageSize, 512) {
		t.Error("the second need not: the device has not taken the first")
	}
	for range 2 {
		if _, ok := d.next(t); !ok {
			t.Fatal("no request")
		}
	}
	if !q.add(2, virtioIn, 0, 6*pageSize, 512) {
		t.Error("the third wakes: the device has taken all")
	}
	q.ask()
	if !d.end(0, 513) || d.end(3, 513) {
		t.Error("the first that ends wakes, and the second does not")
	}
	if n := q.ended(); n != 2 {
		t.Errorf("%d have ended", n)
	}
}

// What a device can't have meant is refused.
func TestVirtqueueRefuses(t *testing.T) {
	for name, id := range map[string]uint32{
		"not the first": 1, "behind the last": queueDepth * queueChain, "far behind": 1 << 31, "all bits": ^uint32(0),
	} {
		t.Run(name, func(t *testing.T) {
			memory := newTestMemory(t).bytes
			q := virtqueue{memory: memory}
			binary.LittleEndian.PutUint32(memory[queueUsed+4:], id)
			q.store(queueUsed, 0, 1)
			_, _, err := q.take()
			if _, broken := errors.AsType[vhostProtocolError](err); !broken || !strings.Contains(err.Error(), "no request's first") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

package qemu

import (
	"encoding/binary"
	"reflect"
	"syscall"
	"testing"

	"elstore/volume/nbdwire"
)

// nbdBytes puts numbers and texts together, big-endian.
func nbdBytes(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			var err error
			if b, err = binary.Append(b, binary.BigEndian, p); err != nil {
				panic(err)
			}
		}
	}
	return b
}

func chunk(flags, kind uint16, handle uint64, payload ...any) []byte {
	b := nbdBytes(payload...)
	return nbdBytes(uint32(nbdwire.ChunkMagic), flags, kind, handle, uint32(len(b)), b)
}

func simple(errno uint32, handle uint64, payload ...any) []byte {
	return nbdBytes(uint32(nbdwire.SimpleMagic), errno, handle, nbdBytes(payload...))
}

func TestParseNBDReply(t *testing.T) {
	for name, tc := range map[string]struct {
		in   []byte
		want nbdReply
		n    int
		fail bool
	}{
		"nothing":          {nil, nbdReply{}, 0, false},
		"half a head":      {simple(0, 1)[:15], nbdReply{}, 0, false},
		"half a chunk":     {chunk(1, 0, 1)[:19], nbdReply{}, 0, false},
		"simple":           {simple(0, 7), nbdReply{handle: 7}, 16, false},
		"simple error":     {simple(28, 7), nbdReply{handle: 7, errno: 28}, 16, false},
		"simple with data": {simple(0, 7, "data"), nbdReply{handle: 7}, 16, false},
		"chunk":            {chunk(1, 5, 9, "12345678"), nbdReply{handle: 9, chunk: true, flags: 1, kind: 5, length: 8}, 20, false},
		"no reply":         {make([]byte, 20), nbdReply{}, 0, true},
		"a request":        {appendNBDRequest(nil, nbdwire.CmdRead, 0, 1, 0, 512), nbdReply{}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, n, err := parseNBDReply(tc.in)
			if (err != nil) != tc.fail || n != tc.n || n > 0 && got != tc.want {
				t.Fatalf("got %+v, %d, %v", got, n, err)
			}
		})
	}
}

func TestParseNBDError(t *testing.T) {
	for name, tc := range map[string]struct {
		kind uint16
		in   []byte
		want syscall.Errno // 0: the protocol is broken
	}{
		"no space":                {nbdwire.ChunkError + 1, nbdBytes(uint32(28), uint16(0)), syscall.ENOSPC},
		"with a text":             {nbdwire.ChunkError + 1, nbdBytes(uint32(5), uint16(2), "no"), syscall.EIO},
		"with an offset":          {nbdwire.ChunkErrorOffset, nbdBytes(uint32(22), uint16(1), "x", uint64(512)), syscall.EINVAL},
		"of a later version":      {nbdwire.ChunkError + 9, nbdBytes(uint32(1), uint16(1), "x", "and more"), syscall.EPERM},
		"unknown number":          {nbdwire.ChunkError + 1, nbdBytes(uint32(4711), uint16(0)), syscall.EIO},
		"too short":               {nbdwire.ChunkError + 1, make([]byte, 5), 0},
		"text too short":          {nbdwire.ChunkError + 1, nbdBytes(uint32(5), uint16(3), "no"), 0},
		"text too long":           {nbdwire.ChunkError + 1, nbdBytes(uint32(5), uint16(1), "no"), 0},
		"offset missing":          {nbdwire.ChunkErrorOffset, nbdBytes(uint32(5), uint16(0)), 0},
		"success is not an error": {nbdwire.ChunkError + 1, nbdBytes(uint32(0), uint16(0)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseNBDError(tc.kind, tc.in)
			if (err != nil) != (tc.want == 0) || err == nil && got != tc.want {
				t.Fatalf("got %v, %v", got, err)
			}
		})
	}
}

func TestParseNBDExtents(t *testing.T) {
	for name, tc := range map[string]struct {
		in    []byte
		limit int64
		want  []extent // nil: the protocol is broken
	}{
		"one":                {nbdBytes(uint32(3), uint32(512), uint32(1)), 512, []extent{{512, 1}}},
		"two":                {nbdBytes(uint32(3), uint32(512), uint32(1), uint32(1024), uint32(3)), 4096, []extent{{512, 1}, {1024, 3}}},
		"goes on beyond":     {nbdBytes(uint32(3), uint32(512), uint32(0), uint32(1024), uint32(3)), 1024, []extent{{512, 0}, {512, 3}}},
		"more than asked":    {nbdBytes(uint32(3), uint32(512), uint32(0), uint32(1024), uint32(3)), 512, []extent{{512, 0}}},
		"none":               {nbdBytes(uint32(3)), 512, nil},
		"half":               {nbdBytes(uint32(3), uint32(512)), 512, nil},
		"of another context": {nbdBytes(uint32(4), uint32(512), uint32(1)), 512, nil},
		"empty":              {nbdBytes(uint32(3), uint32(0), uint32(1)), 512, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseNBDExtents(nil, tc.in, 3, tc.limit)
			if (err != nil) != (tc.want == nil) || err == nil && !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("got %v, %v", got, err)
			}
		})
	}
}

func TestNBDErrno(t *testing.T) {
	for n, want := range map[uint32]syscall.Errno{
		1: syscall.EPERM, 5: syscall.EIO, 12: syscall.ENOMEM, 22: syscall.EINVAL, 28: syscall.ENOSPC,
		75: syscall.EOVERFLOW, 95: syscall.ENOTSUP, 108: syscall.ESHUTDOWN, 3: syscall.EIO, 1 << 31: syscall.EIO,
	} {
		if got := nbdErrno(n); got != want {
			t.Errorf("%d is %v, want %v", n, got, want)
		}
	}
}

func FuzzParseNBDReply(f *testing.F) {
	f.Add(simple(5, 1))
	f.Add(chunk(1, nbdwire.ChunkData, 1, uint64(0), "data"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := parseNBDReply(b)
		if n > len(b) || err != nil && n != 0 {
			t.Fatalf("%d of %d bytes, %v", n, len(b), err)
		}
		if n == 0 {
			return
		}
		again := simple(r.errno, r.handle)
		if r.chunk {
			again = nbdBytes(uint32(nbdwire.ChunkMagic), r.flags, r.kind, r.handle, r.length)
		}
		if string(again) != string(b[:n]) {
			t.Fatalf("%x became %x", b[:n], again)
		}
	})
}

func FuzzParseNBDPayloads(f *testing.F) {
	f.Add(uint16(nbdwire.ChunkErrorOffset), nbdBytes(uint32(5), uint16(1), "x", uint64(0)), int64(512))
	f.Add(uint16(nbdwire.ChunkBlockStatus), nbdBytes(uint32(0), uint32(512), uint32(3)), int64(512))
	f.Fuzz(func(t *testing.T, kind uint16, b []byte, limit int64) {
		if errno, err := parseNBDError(kind, b); err == nil && errno == 0 {
			t.Fatal("an error that is none")
		}
		if limit < 0 {
			return
		}
		extents, err := parseNBDExtents(nil, b, 0, limit)
		if err == nil && lengthOf(extents) > limit {
			t.Fatalf("%d bytes of %d", lengthOf(extents), limit)
		}
	})
}

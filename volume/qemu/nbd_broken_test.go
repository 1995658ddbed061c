package qemu

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"elstore/volume/nbdwire"
)

// However the server breaks the protocol or goes away, requests end with errNBDGone, and those that come too.
func TestNBDBroken(t *testing.T) {
	read := func(c *nbdConn) error { return c.read(make([]byte, 16), 512) }
	flush := func(c *nbdConn) error { return c.flush(context.Background()) }
	status := func(c *nbdConn) error {
		_, err := c.status(context.Background(), nil, 0, 4096, false)
		return err
	}
	for name, tc := range map[string]struct {
		call  func(c *nbdConn) error
		reply func(h uint64) []byte
	}{
		"goes away":                 {flush, func(uint64) []byte { return nil }},
		"goes away in a head":       {flush, func(h uint64) []byte { return simple(0, h)[:9] }},
		"goes away in the data":     {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(512), make([]byte, 16))[:30] }},
		"shuts down":                {flush, func(h uint64) []byte { return simple(108, h) }},
		"no reply":                  {flush, func(uint64) []byte { return []byte(strings.Repeat("x", 20)) }},
		"unknown handle":            {flush, func(h uint64) []byte { return simple(0, h+1<<8) }},
		"handle zero":               {flush, func(uint64) []byte { return simple(0, 0) }},
		"simple to a read":          {read, func(h uint64) []byte { return simple(0, h, make([]byte, 16)) }},
		"too little data":           {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(512), make([]byte, 8)) }},
		"too much data":             {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(512), make([]byte, 17)) }},
		"data before":               {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(511), make([]byte, 16)) }},
		"data behind":               {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(528), make([]byte, 1)) }},
		"data far away":             {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, ^uint64(0), make([]byte, 16)) }},
		"data without data":         {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(512)) }},
		"data of less than nothing": {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint32(512)) }},
		"the same data twice": {read, func(h uint64) []byte {
			return nbdBytes(chunk(0, nbdwire.ChunkData, h, uint64(512), make([]byte, 9)), chunk(1, nbdwire.ChunkData, h, uint64(512), make([]byte, 9)))
		}},
		"a hole of nothing":      {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkHole, h, uint64(512), uint32(0)) }},
		"a hole too large":       {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkHole, h, uint64(512), ^uint32(0)) }},
		"a hole too short":       {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkHole, h, uint64(512)) }},
		"done without data":      {read, func(h uint64) []byte { return chunk(1, nbdwire.ChunkNone, h) }},
		"none that is not done":  {flush, func(h uint64) []byte { return chunk(0, nbdwire.ChunkNone, h) }},
		"none with something":    {flush, func(h uint64) []byte { return chunk(1, nbdwire.ChunkNone, h, "x") }},
		"data for a flush":       {flush, func(h uint64) []byte { return chunk(1, nbdwire.ChunkData, h, uint64(0), "x") }},
		"status for a flush":     {flush, func(h uint64) []byte { return chunk(1, nbdwire.ChunkBlockStatus, h, uint32(3), uint32(1), uint32(0)) }},
		"unknown chunk":          {flush, func(h uint64) []byte { return chunk(1, 77, h) }},
		"an error too long":      {flush, func(h uint64) []byte { return chunk(1, nbdwire.ChunkPlainError, h, make([]byte, nbdMaxChunk+1)) }},
		"an error too short":     {flush, func(h uint64) []byte { return chunk(1, nbdwire.ChunkPlainError, h, "x") }},
		"status without extents": {status, func(h uint64) []byte { return chunk(1, nbdwire.ChunkNone, h) }},
		"status of another":      {status, func(h uint64) []byte { return chunk(1, nbdwire.ChunkBlockStatus, h, uint32(9), uint32(1), uint32(0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := nbdPair(t, fullExport)
			done := make(chan error, 2)
			go func() { done <- tc.call(c) }()
			h := peer.next().handle
			go func() { done <- c.trim(0, 512) }()
			peer.next()
			peer.say(tc.reply(h))
			peer.conn.Close()
			for range 2 {
				if err := <-done; !errors.Is(err, errNBDGone) {
					t.Errorf("error is %v", err)
				}
			}
			<-c.gone
			if err := c.flush(t.Context()); !errors.Is(err, errNBDGone) {
				t.Errorf("a request that came later: %v", err)
			}
		})
	}
}

// A second reply to what was answered is one to nothing.
func TestNBDSecondReply(t *testing.T) {
	c, peer := nbdPair(t, fullExport)
	done := make(chan error, 1)
	go func() { done <- c.trim(0, 512) }()
	h := peer.next().handle
	peer.say(nbdBytes(simple(0, h), simple(0, h)))
	must(t, <-done)
	<-c.gone
}

// Whatever a server says, nothing is written outside of a request's buffer and everything ends.
func FuzzNBDStream(f *testing.F) {
	const first, second = 1, 2
	f.Add(chunk(nbdwire.ChunkDone, nbdwire.ChunkData, first, uint64(512), make([]byte, 16)))
	f.Add(nbdBytes(chunk(0, nbdwire.ChunkHole, first, uint64(512), uint32(16)), chunk(1, nbdwire.ChunkNone, first), simple(0, second)))
	f.Add(chunk(nbdwire.ChunkDone, nbdwire.ChunkPlainError, first, uint32(5), uint16(1), "x"))
	f.Add(chunk(nbdwire.ChunkDone, nbdwire.ChunkBlockStatus, second, uint32(3), uint32(8192), uint32(3)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		c, peer := nbdPair(t, fullExport)
		buf := make([]byte, 48)
		var calls sync.WaitGroup
		calls.Go(func() { _ = c.read(buf[16:32], 512) })
		peer.next()
		calls.Go(func() { _, _ = c.status(context.Background(), nil, 0, 4096, false) })
		peer.next()
		_, _ = peer.conn.Write(stream)
		peer.conn.Close()
		calls.Wait()
		c.cut()
		if !zeros(buf[:16]) || !zeros(buf[32:]) {
			t.Fatalf("%x", buf)
		}
	})
}

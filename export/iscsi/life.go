package iscsi

import (
	"io"
	"sync/atomic"
	"time"

	"elstore/export/iscsi/pdu"
)

// life is when something of a connection's peer came last. A peer that sends a long PDU slowly lives.
type life struct {
	started time.Time
	last    atomic.Int64  // nanoseconds since started
	gap     time.Duration // between the last two; the reader's
}

func (l *life) note() {
	now := time.Since(l.started)
	l.gap = now - time.Duration(l.last.Swap(int64(now)))
}

// watch makes every read of src a sign of life.
func (l *life) watch(src io.Reader) io.Reader {
	if lazy, ok := src.(pdu.LazyReader); ok {
		return &lazySource{source{src, l}, lazy}
	}
	return &source{src, l}
}

type source struct {
	src  io.Reader
	life *life
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	if n > 0 {
		s.life.note()
	}
	return n, err
}

type lazySource struct {
	source

	lazy pdu.LazyReader
}

// ReadLazy implements pdu.LazyReader.
func (s *lazySource) ReadLazy(room pdu.Room) (int, error) {
	n, err := s.lazy.ReadLazy(room)
	if n > 0 {
		s.life.note()
	}
	return n, err
}

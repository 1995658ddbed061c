package pdu

import (
	"sync"
	"sync/atomic"
)

// Buffers come in classes: a power of two for the data, and room for the headers around it, so that a data
// segment of a round size fits its class.
const (
	bufferHeadroom = 4096
	bufferSmallest = 4096
	bufferClasses  = 13 // up to 16 MiB, the largest data segment
)

var bufferPools [bufferClasses]sync.Pool

// Buffer is a piece of memory that is used again once all who hold it have released it. Get gives it to one
// holder; Retain makes another, Release ends one. Holders may be in different goroutines; a holder may read
// and write Bytes until it releases.
type Buffer struct {
	b     []byte
	class int
	refs  atomic.Int32
}

// Get returns a buffer of at least n bytes, whose content is not defined, with the caller as its holder.
func Get(n int) *Buffer {
	class := 0
	for class < bufferClasses && bufferSmallest<<class+bufferHeadroom < n {
		class++
	}
	var buf *Buffer
	if class == bufferClasses {
		buf = &Buffer{b: make([]byte, n), class: class} // larger than any PDU: not kept
	} else if pooled, ok := bufferPools[class].Get().(*Buffer); ok {
		buf = pooled
	} else {
		buf = &Buffer{b: make([]byte, bufferSmallest<<class+bufferHeadroom), class: class}
	}
	buf.refs.Store(1)
	return buf
}

// Bytes is all of the buffer's memory.
func (b *Buffer) Bytes() []byte { return b.b }

// Retain makes another holder, and returns b. The caller is a holder.
func (b *Buffer) Retain() *Buffer {
	b.refs.Add(1)
	return b
}

// Release ends one holder's hold. After the last the memory is somebody else's. A nil buffer is left alone.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	switch refs := b.refs.Add(-1); {
	case refs < 0:
		panic("pdu: a Buffer was released more often than it was held")
	case refs == 0 && b.class < bufferClasses:
		bufferPools[b.class].Put(b)
	}
}

// shared reports whether there are holders besides the caller.
func (b *Buffer) shared() bool { return b.refs.Load() > 1 }

package pdu

import (
	"io"
	"net"
)

// inlineLength is the longest data segment that is copied next to its header: longer ones are cheaper to
// gather.
const inlineLength = 512

// Writer gathers PDUs and writes them in one go: to a TCP or Unix connection of package net in one writev. It
// is for one goroutine at a time.
//
// A PDU is put in by Begin, which gives its header, and End, which takes its data:
//
//	response.Encode(w.Begin())
//	w.End(nil, nil)
type Writer struct {
	dst                      io.Writer
	headerDigest, dataDigest bool

	out        net.Buffers  // the pieces before block.b[start:end]
	sending    net.Buffers  // out, for net.Buffers to consume
	pages      []pagesPiece // for each nil in out
	blocks     []*Buffer    // that the headers are in, block the last of them
	owners     []*Buffer    // of the data, one hold each
	block      *Buffer
	start, end int
	queued     int     // bytes
	nowait     *nowait // nil: dst has no descriptor
	err        error
}

// NewWriter returns a Writer to dst without digests. Only where dst is the connection itself, and not one that
// wraps it, are writes gathered by the system.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst, nowait: newNowait(dst)} }

// SetDigests says which digests the PDUs that End from now on bear.
func (w *Writer) SetDigests(header, data bool) { w.headerDigest, w.dataDigest = header, data }

// Begin returns the place for the header of the next PDU, to be encoded into before End, whatever it held.
func (w *Writer) Begin() *BHS {
	w.reserve(BHSLength + DigestLength)
	return (*BHS)(w.block.b[w.end:])
}

// End ends the PDU of the last Begin, with data as its data segment, at most MaxDataSegmentLength bytes that
// must stay as they are until Flush or Discard; DataSegmentLength is set from it. owner, if not nil, is
// released when the data is no longer needed.
func (w *Writer) End(data []byte, owner *Buffer) {
	w.header(len(data))
	if owner != nil {
		w.owners = append(w.owners, owner)
	}
	n := len(data)
	if n == 0 {
		return
	}
	w.queued += n
	if n <= inlineLength {
		w.reserve(n)
		w.end += copy(w.block.b[w.end:], data)
	} else {
		w.cut()
		w.out = append(w.out, data)
	}
	padding := zeros[:Padding(n)]
	w.put(padding)
	if w.dataDigest {
		w.putDigest(UpdateDigest(Digest(data), padding))
	}
}

// Splices reports whether EndPages may be called: the data goes to a connection of this machine's kernel, and bears no digest.
func (w *Writer) Splices() bool { return w.nowait != nil && !w.dataDigest }

// EndPages ends the PDU of the last Begin with the next n bytes of from as its data segment. They are held until Flush or Discard.
// Splices must be true.
func (w *Writer) EndPages(from *Pages, n int) {
	w.header(n)
	w.queued += n
	w.cut()
	w.out = append(w.out, nil)
	w.pages = append(w.pages, pagesPiece{from, n})
	w.put(zeros[:Padding(n)])
}

// Queued is the number of bytes that Flush would write.
func (w *Writer) Queued() int { return w.queued }

// Flush writes all PDUs that were ended, and releases their owners. An error stays: what was written of a PDU
// can't be taken back, so that the connection is of no use any more.
func (w *Writer) Flush() error {
	w.cut()
	if w.err == nil && len(w.out) > 0 {
		if w.nowait != nil {
			w.err = w.nowait.send(w, true)
		} else {
			w.sending = w.out
			_, w.err = w.sending.WriteTo(w.dst)
		}
	}
	w.Discard()
	return w.err
}

// Discard forgets the PDUs that are queued, and releases their owners.
func (w *Writer) Discard() {
	clear(w.out)
	w.out, w.sending = w.out[:0], nil
	if w.nowait != nil {
		w.nowait.forget()
	}
	for i, owner := range w.owners {
		owner.Release()
		w.owners[i] = nil
	}
	for i, block := range w.blocks {
		block.Release()
		w.blocks[i] = nil
	}
	clear(w.pages)
	w.owners, w.blocks, w.pages = w.owners[:0], w.blocks[:0], w.pages[:0]
	w.block, w.start, w.end, w.queued = nil, 0, 0, 0
}

// header ends the header that Begin gave.
func (w *Writer) header(dataSegmentLength int) {
	h := (*BHS)(w.block.b[w.end:])
	h[4] = 0
	h.SetDataSegmentLength(dataSegmentLength)
	w.end += BHSLength
	w.queued += BHSLength
	if w.headerDigest {
		w.putDigest(Digest(h[:]))
	}
}

func (w *Writer) put(p []byte) {
	w.reserve(len(p))
	w.end += copy(w.block.b[w.end:], p)
	w.queued += len(p)
}

func (w *Writer) putDigest(crc uint32) {
	w.reserve(DigestLength)
	AppendDigest(w.block.b[w.end:w.end], crc)
	w.end += DigestLength
	w.queued += DigestLength
}

// reserve sees to it that block has room for n bytes.
func (w *Writer) reserve(n int) {
	if w.block != nil && len(w.block.b)-w.end >= n {
		return
	}
	w.cut()
	w.block, w.start, w.end = Get(n), 0, 0
	w.blocks = append(w.blocks, w.block)
}

// cut makes what was put into block since the last piece a piece.
func (w *Writer) cut() {
	if w.end > w.start {
		w.out = append(w.out, w.block.b[w.start:w.end])
		w.start = w.end
	}
}

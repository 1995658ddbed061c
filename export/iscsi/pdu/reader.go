package pdu

import (
	"errors"
	"io"
)

// Limits are what a Reader expects of the PDUs to come.
type Limits struct {
	MaxRecvDataSegmentLength int  // bytes; a longer data segment is skipped; section 13.12
	HeaderDigest             bool // every header is followed by its CRC32C; section 13.1
	DataDigest               bool // every data segment is followed by its CRC32C; section 13.1
}

// DefaultLimits are those of the login phase: section 13.12 has 8192 bytes until another length is declared.
var DefaultLimits = Limits{MaxRecvDataSegmentLength: 8192}

// ErrHeaderDigest says that a header is not what was sent. Where it ends is not known, so the stream is lost;
// section 7.8.
var ErrHeaderDigest = errors.New("the header digest does not match the header")

// PDU is a whole PDU as it came. Its slices are parts of a buffer that is the Reader's.
type PDU struct {
	BHS  *BHS
	AHS  []byte // all additional header segments, padded
	Data []byte // the data segment without padding

	// Skipped is the length of a data segment that was over the limit: it is not in Data, and the Reader passes
	// over it. Check finds such a PDU.
	Skipped int
	// BadDataDigest says that the data is not what was sent; Data is nil then; section 7.8.
	BadDataDigest bool

	buf *Buffer
}

// Retain lets BHS, AHS and Data stay as they are after the next call of Next, until the buffer that is
// returned is released.
func (p *PDU) Retain() *Buffer { return p.buf.Retain() }

// What a Reader asks its buffers to hold. It begins small and doubles whenever a read fills all of the room.
const (
	readSmallest = bufferSmallest + bufferHeadroom
	readLargest  = 1<<16 + bufferHeadroom
	// readAhead is how far it reads beyond the end of a PDU that is as large as readLargest: what it finds there
	// is copied to the next buffer.
	readAhead = 4096
)

// Reader takes PDUs out of a byte stream. One read of the stream may bring many. It is for one goroutine.
type Reader struct {
	src    io.Reader
	lazy   LazyReader
	limits Limits

	buf  *Buffer // nil, or held
	r, w int     // what was read and not yet handed out is buf.b[r:w]
	size int     // to ask of the next buffer
	skip int     // bytes to pass over before the next PDU
	want int     // bytes that the room for a read is to have at least
	pdu  PDU
}

// NewReader returns a Reader of src with DefaultLimits. A src that is a LazyReader too is read as such.
func NewReader(src io.Reader) *Reader {
	r := &Reader{src: src, limits: DefaultLimits, size: readSmallest}
	r.lazy, _ = src.(LazyReader)
	return r
}

// SetLimits sets what the next call of Next goes by, also for what was read ahead.
func (r *Reader) SetLimits(l Limits) { r.limits = l }

// Next returns the next PDU. It, and what its fields point to, is valid until the next call of Next or Close,
// or as PDU.Retain says. The error is io.EOF where the stream ends between PDUs, io.ErrUnexpectedEOF where it
// ends within one, ErrHeaderDigest, or the source's own. After the source's own error, as a deadline's, Next
// may be called again and nothing is lost; after the others the stream is of no use.
func (r *Reader) Next() (*PDU, error) {
	r.pdu = PDU{}
	if err := r.pass(); err != nil {
		return nil, err
	}
	if r.r == r.w {
		r.drained()
	}
	if err := r.fill(BHSLength); err != nil {
		return nil, err
	}
	header := r.headerLength()
	if err := r.fill(header); err != nil {
		return nil, err
	}
	if r.limits.HeaderDigest {
		crc := r.buf.b[r.r+header-DigestLength : r.r+header]
		if Digest(r.buf.b[r.r:r.r+header-DigestLength]) != wireDigest(crc) {
			return nil, ErrHeaderDigest
		}
	}
	length, tail := r.dataLength()
	p := &r.pdu
	if length > r.limits.MaxRecvDataSegmentLength {
		p.Skipped, r.skip = length, length+tail
		length, tail = 0, 0
	} else if err := r.fill(header + length + tail); err != nil {
		return nil, err
	}
	at := r.buf.b[r.r : r.r+header+length+tail : r.r+header+length+tail]
	p.buf, p.BHS = r.buf, (*BHS)(at)
	p.AHS = at[BHSLength : BHSLength+p.BHS.TotalAHSLength()]
	if length > 0 {
		p.Data = at[header : header+length]
		if r.limits.DataDigest && Digest(at[header:len(at)-DigestLength]) != wireDigest(at[len(at)-DigestLength:]) {
			p.Data, p.BadDataDigest = nil, true
		}
	}
	r.r += len(at)
	return p, nil
}

// Buffered reports whether Next has a PDU that needs no more of the stream: whoever answers in batches goes on
// while it has.
func (r *Reader) Buffered() bool {
	have := r.w - r.r - r.skip
	if have < BHSLength {
		return false
	}
	b := r.buf.b[r.r+r.skip:]
	h := (*BHS)(b)
	header := BHSLength + h.TotalAHSLength() + r.digest(r.limits.HeaderDigest)
	length := h.DataSegmentLength()
	if length > r.limits.MaxRecvDataSegmentLength {
		return have >= header
	}
	return have >= header+length+r.tail(length)
}

// Close gives the Reader's buffer back; PDUs that are retained stay. The Reader is of no use after it.
func (r *Reader) Close() {
	r.buf.Release()
	r.buf, r.r, r.w, r.pdu = nil, 0, 0, PDU{}
}

// headerLength is that of the header that begins at r, with its AHS and digest.
func (r *Reader) headerLength() int {
	return BHSLength + (*BHS)(r.buf.b[r.r:]).TotalAHSLength() + r.digest(r.limits.HeaderDigest)
}

// dataLength is that of the data segment after the header at r, and of what follows it.
func (r *Reader) dataLength() (length, tail int) {
	length = (*BHS)(r.buf.b[r.r:]).DataSegmentLength()
	return length, r.tail(length)
}

// tail is the length of padding and digest after length bytes of data.
func (r *Reader) tail(length int) int {
	if length == 0 {
		return 0 // and no digest; section 11.2.3
	}
	return Padding(length) + r.digest(r.limits.DataDigest)
}

func (r *Reader) digest(on bool) int {
	if on {
		return DigestLength
	}
	return 0
}

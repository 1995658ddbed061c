package scsi

import "sync"

// chunkSize is how much a command that reads, compares or fills works on at a time: a multiple of every
// block size.
const chunkSize = 256 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func getChunk() *[chunkSize]byte  { return chunks.Get().(*[chunkSize]byte) }
func putChunk(c *[chunkSize]byte) { chunks.Put(c) }

// pieces reads data that comes in pieces, one behind the other.
type pieces struct {
	rest [][]byte
	at   int // in rest[0]
}

// next returns at most n of the bytes that come next, as far as they lie in one piece; nothing at the end.
func (p *pieces) next(n int) []byte {
	for len(p.rest) > 0 {
		if b := p.rest[0][p.at:]; len(b) > 0 {
			b = b[:min(len(b), n)]
			p.at += len(b)
			return b
		}
		p.rest, p.at = p.rest[1:], 0
	}
	return nil
}

// mismatch returns how many bytes of b are equal to what comes next. It stops where they differ or end.
func (p *pieces) mismatch(b []byte) int {
	done := 0
	for done < len(b) {
		q := p.next(len(b) - done)
		if len(q) == 0 {
			return done
		}
		same := commonPrefix(b[done:done+len(q)], q)
		done += same
		if same < len(q) {
			return done
		}
	}
	return done
}

// commonPrefix returns how many bytes a and b, of equal length, have in common at their beginning.
func commonPrefix(a, b []byte) int {
	if string(a) == string(b) {
		return len(a)
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

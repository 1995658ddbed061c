package pdu

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// sample is a PDU to be framed.
type sample struct{ ahs, data int }

// stream is samples on the wire, each with a task tag that is its number, and data that tells where it is from.
func stream(l Limits, samples ...sample) []byte {
	var wire []byte
	for i, s := range samples {
		wire = appendSample(wire, l, i, s)
	}
	return wire
}

func appendSample(wire []byte, l Limits, i int, s sample) []byte {
	var h BHS
	(&NOPOut{InitiatorTaskTag: uint32(i)}).Encode(&h)
	return Append(wire, &h, bytes.Repeat([]byte{byte(i), 0xa5}, s.ahs/2), content(i, s.data), l.HeaderDigest, l.DataDigest)
}

func content(i, n int) []byte {
	p := make([]byte, n)
	for j := range p {
		p[j] = byte(i + j/7)
	}
	return p
}

// compare checks that p is sample i.
func compare(t testing.TB, p *PDU, l Limits, i int, s sample) {
	t.Helper()
	if p.BHS.InitiatorTaskTag() != uint32(i) || len(p.AHS) != s.ahs || p.BHS.DataSegmentLength() != s.data || p.BadDataDigest {
		t.Fatalf("PDU %d is %+v, want %+v", i, p, s)
	}
	if s.ahs > 0 && p.AHS[0] != byte(i) {
		t.Fatalf("PDU %d has the AHS % x", i, p.AHS)
	}
	want, skipped := content(i, s.data), 0
	if s.data > l.MaxRecvDataSegmentLength {
		want, skipped = nil, s.data
	}
	if !bytes.Equal(p.Data, want) || p.Skipped != skipped {
		t.Fatalf("PDU %d has %d bytes, %d skipped, want %d and %d", i, len(p.Data), p.Skipped, len(want), skipped)
	}
}

var sizes = []sample{{0, 0}, {0, 1}, {8, 4096}, {0, 3}, {1020, 0}, {0, 8192}, {0, 20000}, {4, 2}, {0, 200000}, {0, 0}, {0, 65536}, {0, 8191}}

func eachLimits(t *testing.T, max int, test func(t *testing.T, l Limits)) {
	for _, l := range []Limits{
		{MaxRecvDataSegmentLength: max},
		{MaxRecvDataSegmentLength: max, HeaderDigest: true},
		{MaxRecvDataSegmentLength: max, DataDigest: true},
		{MaxRecvDataSegmentLength: max, HeaderDigest: true, DataDigest: true},
	} {
		name := map[bool]string{true: "header digest", false: "no header digest"}[l.HeaderDigest] +
			map[bool]string{true: ", data digest", false: ", no data digest"}[l.DataDigest]
		t.Run(name, func(t *testing.T) { test(t, l) })
	}
}

// lazy makes a LazyReader of r, and counts when a buffer is held.
type lazy struct {
	io.Reader
	waiting func() // called where a connection would wait
}

func (l *lazy) ReadLazy(room Room) (int, error) {
	room.Take()
	room.Return()
	if l.waiting != nil {
		l.waiting()
	}
	return l.Read(room.Take())
}

// ragged returns at most a few bytes per read, as many as r says.
type ragged struct {
	io.Reader
	r *rand.Rand
}

func (r *ragged) Read(p []byte) (int, error) {
	return r.Reader.Read(p[:min(len(p), 1+r.r.IntN(1<<r.r.IntN(18)))])
}

func TestReader(t *testing.T) {
	sources := map[string]func(wire []byte) io.Reader{
		"all at once":      func(wire []byte) io.Reader { return bytes.NewReader(wire) },
		"byte by byte":     func(wire []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(wire)) },
		"by halves":        func(wire []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(wire)) },
		"data with error":  func(wire []byte) io.Reader { return iotest.DataErrReader(bytes.NewReader(wire)) },
		"lazily":           func(wire []byte) io.Reader { return &lazy{Reader: bytes.NewReader(wire)} },
		"lazily by halves": func(wire []byte) io.Reader { return &lazy{Reader: iotest.HalfReader(bytes.NewReader(wire))} },
		"raggedly": func(wire []byte) io.Reader {
			return &ragged{bytes.NewReader(wire), rand.New(rand.NewPCG(1, 2))}
		},
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			samples := sizes
			if name == "byte by byte" {
				samples = sizes[:7] // the others would take long
			}
			for _, max := range []int{1 << 18, 8192} { // the larger samples are skipped
				eachLimits(t, max, func(t *testing.T, l Limits) {
					r := NewReader(source(stream(l, samples...)))
					r.SetLimits(l)
					defer r.Close()
					for i, s := range samples {
						p, err := r.Next()
						if err != nil {
							t.Fatalf("PDU %d: %v", i, err)
						}
						compare(t, p, l, i, s)
					}
					if _, err := r.Next(); !errors.Is(err, io.EOF) {
						t.Errorf("at the end: %v", err)
					}
				})
			}
		})
	}
}

// TestReaderRetain holds on to every other PDU while the rest of the stream goes through.
func TestReaderRetain(t *testing.T) {
	for name, source := range map[string]func(io.Reader) io.Reader{
		"eagerly": func(r io.Reader) io.Reader { return r },
		"lazily":  func(r io.Reader) io.Reader { return &lazy{Reader: r} },
	} {
		t.Run(name, func(t *testing.T) {
			l := Limits{MaxRecvDataSegmentLength: 1 << 18, HeaderDigest: true, DataDigest: true}
			samples := slices.Concat(sizes, sizes, sizes)
			r := NewReader(source(&ragged{bytes.NewReader(stream(l, samples...)), rand.New(rand.NewPCG(3, 4))}))
			r.SetLimits(l)
			type held struct {
				i   int
				pdu PDU
				buf *Buffer
			}
			var all []held
			for i, s := range samples {
				p, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				compare(t, p, l, i, s)
				if i%2 == 0 {
					all = append(all, held{i, *p, p.Retain()})
				}
			}
			r.Close()
			for _, h := range all {
				compare(t, &h.pdu, l, h.i, samples[h.i])
				h.buf.Release()
			}
		})
	}
}

// TestReaderHoldsNothing: a connection that is silent costs no buffer.
func TestReaderHoldsNothing(t *testing.T) {
	l := Limits{MaxRecvDataSegmentLength: 1 << 18}
	var r *Reader
	held := 0
	src := &lazy{Reader: &onePerRead{pdus: [][]byte{stream(l, sizes[0]), stream(l, sizes[2]), stream(l, sizes[8])}}, waiting: func() {
		if r.buf != nil {
			held++
		}
	}}
	r = NewReader(src)
	r.SetLimits(l)
	var kept *Buffer
	for range 3 {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		kept.Release()
		kept = p.Retain() // somebody else's hold is not the Reader's
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if held != 0 {
		t.Errorf("a buffer was held at %d waits", held)
	}
	kept.Release()
}

// onePerRead returns one PDU per read, as far as it fits.
type onePerRead struct{ pdus [][]byte }

func (o *onePerRead) Read(p []byte) (int, error) {
	if len(o.pdus) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.pdus[0])
	if o.pdus[0] = o.pdus[0][n:]; len(o.pdus[0]) == 0 {
		o.pdus = o.pdus[1:]
	}
	return n, nil
}

func TestReaderBuffered(t *testing.T) {
	l := Limits{MaxRecvDataSegmentLength: 8192, HeaderDigest: true, DataDigest: true}
	batch := stream(l, sample{0, 100}, sample{8, 0}, sample{0, 10000}, sample{0, 5})
	// The third is over the limit, so that it is there with its header; of the fourth the last byte is late.
	r := NewReader(&onePerRead{pdus: [][]byte{batch[:len(batch)-1], batch[len(batch)-1:]}})
	r.size = 1 << 16
	r.SetLimits(l)
	if r.Buffered() {
		t.Error("buffered before the first read")
	}
	for i, want := range []bool{true, true, false, false} {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if got := r.Buffered(); got != want {
			t.Errorf("after PDU %d: %t, want %t", i, got, want)
		}
	}
}

func TestReaderDigests(t *testing.T) {
	l := Limits{MaxRecvDataSegmentLength: 8192, HeaderDigest: true, DataDigest: true}
	samples := []sample{{8, 5}, {0, 7}}
	whole := stream(l, samples...)
	first := len(stream(l, samples[0]))
	data := BHSLength + 8 + DigestLength
	for at := range first {
		wire := slices.Clone(whole)
		wire[at] ^= 0x10
		r := NewReader(bytes.NewReader(wire))
		r.SetLimits(l)
		p, err := r.Next()
		if at >= 4 && at < 8 {
			// A length that is wrong has the digest looked for at the wrong place; any error will do.
			if err == nil {
				t.Errorf("byte %d changed: no error", at)
			}
			continue
		}
		if at < data {
			if !errors.Is(err, ErrHeaderDigest) {
				t.Errorf("byte %d changed: %v", at, err)
			}
			continue
		}
		if err != nil || !p.BadDataDigest || p.Data != nil || p.BHS.InitiatorTaskTag() != 0 {
			t.Fatalf("byte %d changed: %+v, %v", at, p, err)
		}
		if p, err = r.Next(); err != nil { // the stream goes on
			t.Fatal(err)
		}
		compare(t, p, l, 1, samples[1])
	}
}

func TestReaderEnds(t *testing.T) {
	broken := errors.New("the cable was pulled")
	l := Limits{MaxRecvDataSegmentLength: 64, HeaderDigest: true, DataDigest: true}
	samples := []sample{{8, 5}, {0, 100}, {0, 64}}
	whole := stream(l, samples...)
	ends := map[int]int{0: 0} // where PDUs end: how many there are by then
	for i := range samples {
		ends[len(stream(l, samples[:i+1]...))] = i + 1
	}
	for cut := range len(whole) + 1 {
		for _, tt := range []struct {
			src  io.Reader
			want error
		}{
			{bytes.NewReader(whole[:cut]), io.ErrUnexpectedEOF},
			{io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken)), broken},
		} {
			r := NewReader(tt.src)
			r.SetLimits(l)
			got := 0
			var err error
			for ; err == nil; got++ {
				_, err = r.Next()
			}
			want := tt.want
			complete, atEnd := ends[cut]
			if atEnd && !errors.Is(want, broken) {
				want = io.EOF
			}
			if !errors.Is(err, want) {
				t.Errorf("cut at %d: %v, want %v", cut, err, want)
			}
			if atEnd && got-1 != complete {
				t.Errorf("cut at %d: %d PDUs, want %d", cut, got-1, complete)
			}
		}
	}
}

// TestReaderGoesOn: a deadline that passes loses nothing.
func TestReaderGoesOn(t *testing.T) {
	late := errors.New("late")
	l := Limits{MaxRecvDataSegmentLength: 9000, HeaderDigest: true, DataDigest: true}
	r := NewReader(&interrupted{Reader: iotest.OneByteReader(bytes.NewReader(stream(l, sizes...))), err: late})
	r.SetLimits(l)
	interruptions := 0
	for i, s := range sizes {
		p, err := r.Next()
		for ; errors.Is(err, late); p, err = r.Next() {
			interruptions++
		}
		if err != nil {
			t.Fatal(err)
		}
		compare(t, p, l, i, s)
	}
	if interruptions == 0 {
		t.Error("nothing was interrupted")
	}
}

// interrupted fails every other read.
type interrupted struct {
	io.Reader
	err  error
	next bool
}

func (i *interrupted) Read(p []byte) (int, error) {
	if i.next = !i.next; i.next {
		return 0, i.err
	}
	return i.Reader.Read(p)
}

func TestReaderNoProgress(t *testing.T) {
	r := NewReader(readerFunc(func([]byte) (int, error) { return 0, nil }))
	if _, err := r.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestReaderDoesNotOverread: with a large PDU to fill it asks for little beyond that.
func TestReaderDoesNotOverread(t *testing.T) {
	l := Limits{MaxRecvDataSegmentLength: 1 << 20}
	wire := stream(l, sample{0, 300000}, sample{0, 300000})
	src := bytes.NewReader(wire)
	r := NewReader(src)
	r.SetLimits(l)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if ahead := len(wire)/2 - src.Len(); ahead > readAhead {
		t.Errorf("it read %d bytes ahead", ahead)
	}
}

func TestBuffer(t *testing.T) {
	for _, n := range []int{0, 1, 8192, 8193, 65536 + 56, 1<<24 + 2048, 1<<24 + 1<<20} {
		b := Get(n)
		if len(b.Bytes()) < n {
			t.Errorf("Get(%d) has %d bytes", n, len(b.Bytes()))
		}
		if b.shared() {
			t.Error("a new buffer is shared")
		}
		if b.Retain(); !b.shared() {
			t.Error("a retained buffer is not shared")
		}
		b.Release()
		b.Release()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Get(%d): it can be released once more", n)
				}
			}()
			b.Release()
		}()
	}
	(*Buffer)(nil).Release()
	if n := len(Get(65536 + BHSLength + 2*DigestLength).Bytes()); n > 65536+bufferHeadroom {
		t.Errorf("64 KiB of data with its header take %d bytes", n)
	}
}

package pdu

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// roundTrip decodes h as T, and checks that what that encodes to decodes to the same.
func roundTrip[T comparable, P codec[T]](t *testing.T, h *BHS) {
	var first, second T
	P(&first).Decode(h)
	one, two := dirty(), dirty()
	P(&first).Encode(one)
	P(&second).Decode(one)
	P(&second).Encode(two)
	if first != second || *one != *two || one.Opcode() != h.Opcode() {
		t.Fatalf("% x is\n%+v, encoded\n% x\n%+v, encoded\n% x", h[:], first, one[:], second, two[:])
	}
}

var roundTrips = map[Opcode]func(*testing.T, *BHS){
	OpNOPOut: roundTrip[NOPOut], OpSCSICommand: roundTrip[SCSICommand], OpTaskMgmt: roundTrip[TaskMgmt], OpLogin: roundTrip[Login],
	OpText: roundTrip[Text], OpDataOut: roundTrip[DataOut], OpLogout: roundTrip[Logout], OpSNACK: roundTrip[SNACK],
	OpNOPIn: roundTrip[NOPIn], OpSCSIResponse: roundTrip[SCSIResponse], OpTaskMgmtResponse: roundTrip[TaskMgmtResponse],
	OpLoginResponse: roundTrip[LoginResponse], OpTextResponse: roundTrip[TextResponse], OpDataIn: roundTrip[DataIn],
	OpLogoutResponse: roundTrip[LogoutResponse], OpR2T: roundTrip[R2T], OpAsync: roundTrip[Async], OpReject: roundTrip[Reject],
}

// FuzzDecode: what any bytes decode to encodes to what decodes to it again, and no rule or decoder panics.
func FuzzDecode(f *testing.F) {
	for op := range roundTrips {
		for _, fill := range []byte{0, 0x55, 0xff} {
			h := bytes.Repeat([]byte{fill}, BHSLength)
			h[0] = byte(op)
			f.Add(h, []byte{0, 5, 1, 0, 1, 2, 3, 4})
		}
	}
	f.Fuzz(func(t *testing.T, header, rest []byte) {
		if len(header) < BHSLength {
			return
		}
		h := (*BHS)(header)
		if test := roundTrips[h.Opcode()]; test != nil {
			test(t, h)
		}
		rules := Rules{MaxRecvDataSegmentLength: 1 << 18, FirstBurstLength: 1 << 16, ImmediateData: true}
		if err := rules.Check(h, rest); err != nil && err.Error() == "" {
			t.Error("a rule without words")
		}
		var a AHS
		if a.Decode(rest) {
			var b AHS
			if wire := a.Append(nil); len(wire) > len(rest) || !b.Decode(wire) || !bytes.Equal(a.ExtendedCDB, b.ExtendedCDB) || a.ExpectedBidiReadLength != b.ExpectedBidiReadLength {
				t.Errorf("% x is %+v, again %+v", rest, a, b)
			}
		}
		if sense, ok := Sense(rest); ok && len(rest) > 0 && !bytes.HasPrefix(rest, AppendSense(nil, sense)) {
			t.Errorf("% x has the sense % x", rest, sense)
		}
	})
}

// FuzzReader: however a stream is cut into reads, and whatever is retained, the same PDUs come out of it, and
// the same error ends it.
func FuzzReader(f *testing.F) {
	// Small ones: the fuzzer spends its time on making large inputs smaller.
	const max = 64
	l := Limits{MaxRecvDataSegmentLength: max}
	f.Add(stream(l, sample{0, 0}, sample{0, 5}, sample{8, 0}), uint64(1), false, false)
	l.HeaderDigest, l.DataDigest = true, true
	f.Add(stream(l, sample{0, 1}, sample{8, 7}, sample{0, 0}), uint64(2), true, true)
	f.Add(stream(l, sample{0, max + 1}, sample{8, 8}), uint64(3), true, true)
	f.Add(bytes.Repeat([]byte{0xff}, 100), uint64(4), false, true)
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64, headerDigest, dataDigest bool) {
		l := Limits{MaxRecvDataSegmentLength: max, HeaderDigest: headerDigest, DataDigest: dataDigest}
		whole, wholeErr := frames(bytes.NewReader(wire), l, nil)
		chance := rand.New(rand.NewPCG(seed, 0))
		pieces, piecesErr := frames(&ragged{bytes.NewReader(wire), chance}, l, chance)
		lazily, lazilyErr := frames(&lazy{Reader: &ragged{bytes.NewReader(wire), chance}}, l, chance)
		if !slices.EqualFunc(whole, pieces, sameFrame) || !errors.Is(piecesErr, wholeErr) {
			t.Fatalf("in one read %d PDUs and %v, in pieces %d and %v", len(whole), wholeErr, len(pieces), piecesErr)
		}
		if !slices.EqualFunc(whole, lazily, sameFrame) || !errors.Is(lazilyErr, wholeErr) {
			t.Fatalf("in one read %d PDUs and %v, lazily %d and %v", len(whole), wholeErr, len(lazily), lazilyErr)
		}
		// What came out is all that went in, but for what was skipped and the end.
		if !headerDigest && !dataDigest {
			var again []byte
			for _, p := range whole {
				if p.Skipped > 0 {
					return
				}
				again = Append(again, new(*p.BHS), p.AHS, p.Data, false, false)
				clearPadding(wire, len(again), len(p.Data))
			}
			if !bytes.HasPrefix(wire, again) {
				t.Error("the PDUs are not what was in the stream")
			}
		}
	})
}

// clearPadding makes the padding of the PDU that ends at end what Append makes it.
func clearPadding(wire []byte, end, data int) {
	clear(wire[end-Padding(data) : end])
}

func sameFrame(a, b PDU) bool {
	return *a.BHS == *b.BHS && bytes.Equal(a.AHS, b.AHS) && bytes.Equal(a.Data, b.Data) && a.Skipped == b.Skipped && a.BadDataDigest == b.BadDataDigest
}

// frames reads all PDUs, and holds on to some until the end where there is a chance.
func frames(src io.Reader, l Limits, chance *rand.Rand) ([]PDU, error) {
	r := NewReader(src)
	r.SetLimits(l)
	var all []PDU
	held := map[int]*Buffer{}
	for {
		p, err := r.Next()
		if err != nil {
			r.Close()
			for i, buf := range held {
				all[i] = clone(&all[i])
				buf.Release()
			}
			return all, err
		}
		if chance != nil && chance.IntN(2) == 0 {
			held[len(all)] = p.Retain()
			all = append(all, *p)
		} else {
			all = append(all, clone(p))
		}
	}
}

func clone(p *PDU) PDU {
	return PDU{BHS: new(*p.BHS), AHS: slices.Clone(p.AHS), Data: slices.Clone(p.Data), Skipped: p.Skipped, BadDataDigest: p.BadDataDigest}
}

// FuzzKeys: a text that is accepted keeps to the limits, and means the same when it is written again; so do
// values.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{
		"InitiatorName=iqn.1993-08.org.debian:01:abc\x00SessionType=Normal\x00AuthMethod=CHAP,None\x00",
		"CHAP_A=5\x00CHAP_I=201\x00CHAP_C=0x0123456789abcdef\x00", "CHAP_R=0bAKH/\x00", "OFMarkInt=1~65535\x00", "A\x00", "=\x00", "A=b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const limit = 16
		pairs, err := ParseText(text, limit)
		if err != nil {
			return
		}
		var again []byte
		for _, p := range pairs {
			if len(p.Key) == 0 || len(p.Key) > MaxKeyLength || len(p.Value) > MaxBinaryText {
				t.Errorf("%q is over the limits", p)
			}
			again = AppendPair(again, p.Key, p.Value)
			checkValue(t, p.Value)
		}
		if twice, err := ParseText(again, limit); err != nil || !slices.Equal(pairs, twice) || len(pairs) > limit {
			t.Errorf("%q is %q, again %q, %v", text, pairs, twice, err)
		}
	})
}

func checkValue(t *testing.T, value string) {
	if b, ok := ParseBinary(value, 1024); ok {
		if again, ok := ParseBinary(FormatBinary(b), 1024); !ok || !bytes.Equal(b, again) || len(b) > 1024 {
			t.Errorf("%q is % x, again % x", value, b, again)
		}
	}
	if chosen, ok := Choose(value, "None", "CRC32C"); ok && chosen != "None" && chosen != "CRC32C" {
		t.Errorf("of %q %q was chosen", value, chosen)
	}
	if name, err := ParseName(value); err == nil {
		if again, err := ParseName(string(name)); err != nil || again != name || len(name) > MaxNameLength {
			t.Errorf("%q is %q, again %q, %v", value, name, again, err)
		}
	}
}

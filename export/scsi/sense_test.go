package scsi

import (
	"bytes"
	"testing"
)

func TestSenseData(t *testing.T) {
	tests := []struct {
		name              string
		answer            answer
		fixed, descriptor string
	}{
		{
			"no sense", good,
			"70 00 00 00000000 0a 00000000 0000 00 000000", "72 00 0000 000000 00",
		},
		{
			"field of a CDB", badField(2, 5),
			"70 00 05 00000000 0a 00000000 2400 00 cd0002", "72 05 2400 000000 08 02060000 cd000200",
		},
		{
			"byte of a parameter list", badParameter(0x123, wholeByte),
			"70 00 05 00000000 0a 00000000 2600 00 800123", "72 05 2600 000000 08 02060000 80012300",
		},
		{
			"a block", check(MediumError, UnrecoveredReadError).withInfo(0x12345678),
			"f0 00 03 12345678 0a 00000000 1100 00 000000", "72 03 1100 000000 0c 000a8000 0000000012345678",
		},
		{
			"a block beyond 2^32", check(MediumError, WriteError).withInfo(0x112345678),
			"70 00 03 00000000 0a 00000000 0c00 00 000000", "72 03 0c00 000000 0c 000a8000 0000000112345678",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := tt.answer.appendSense(nil, false), unhex(t, tt.fixed); !bytes.Equal(got, want) {
				t.Errorf("fixed format\n%x, want\n%x", got, want)
			}
			if got, want := tt.answer.appendSense(nil, true), unhex(t, tt.descriptor); !bytes.Equal(got, want) {
				t.Errorf("descriptor format\n%x, want\n%x", got, want)
			}
		})
	}
}

func TestSenseFitsTheCommand(t *testing.T) {
	all := badField(1, 1).withInfo(1)
	if n := len(all.appendSense(nil, true)); n != maximumSenseLength {
		t.Errorf("the longest sense data have %d bytes, and there is room for %d", n, maximumSenseLength)
	}
	if n := len(all.appendSense(nil, false)); n != fixedSenseLength || n > maximumSenseLength {
		t.Errorf("fixed format sense data have %d bytes", n)
	}
}

func TestDescriptorSenseFollowsTheControlPage(t *testing.T) {
	lu := newUnit(t, Config{})
	n := attach(t, lu, 1)
	if s := send(t, n, "88 00 ffffffffffffffff 00000001 00 00").want(t, "5/21/00").Sense(); s[0] != 0x70 {
		t.Errorf("sense data %x, want fixed format", s)
	}
	send(t, n, "15 10 00 00 10 00", unhex(t, "00000000 0a0a 24 10 00 40 00 00 0000 0000")).want(t, "good")
	if s := send(t, n, "88 00 ffffffffffffffff 00000001 00 00").want(t, "5/21/00").Sense(); s[0] != 0x72 {
		t.Errorf("sense data %x, want descriptor format", s)
	}
	// REQUEST SENSE has a bit of its own.
	send(t, n, "03 00 00 00 ff 00").wantData(t, "70 00 00 00000000 0a 00000000 0000 00 000000")
	send(t, n, "03 01 00 00 ff 00").wantData(t, "72 00 0000 000000 00")
}

package pdu

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	loose := Rules{MaxRecvDataSegmentLength: 8192, FirstBurstLength: 4096, ImmediateData: true}
	strict := Rules{MaxRecvDataSegmentLength: 8192, FirstBurstLength: 4096, InitialR2T: true}
	cdb := (&AHS{ExtendedCDB: []byte{1}}).Append(nil)
	bidi := (&AHS{HasBidiRead: true}).Append(nil)
	write := SCSICommand{Final: true, Write: true, Attr: Simple, ExpectedDataTransferLength: 4096, DataSegmentLength: 4096}
	with := func(change func(*SCSICommand)) *SCSICommand {
		c := write
		change(&c)
		return &c
	}
	tests := []struct {
		name  string
		rules Rules
		pdu   interface{ Encode(*BHS) }
		ahs   []byte
		want  *RuleError
	}{
		{"a write with immediate data", loose, &write, nil, nil},
		{"a read", strict, &SCSICommand{Final: true, Read: true, ExpectedDataTransferLength: 512}, nil, nil},
		{"no data either way", strict, &SCSICommand{Final: true}, nil, nil},
		{"a read of nothing", strict, &SCSICommand{Final: true, Read: true}, nil, nil},
		{"a write whose data R2Ts ask for", strict, &SCSICommand{Final: true, Write: true, ExpectedDataTransferLength: 1 << 20}, nil, nil},
		{"a write whose data follows", loose, &SCSICommand{Write: true, ExpectedDataTransferLength: 1 << 20}, nil, nil},
		{"the largest write", loose, &SCSICommand{Final: true, Write: true, ExpectedDataTransferLength: 1<<32 - 1}, nil, nil},
		{"a long CDB", strict, &SCSICommand{Final: true}, cdb, nil},
		{"both ways", strict, &SCSICommand{Final: true, Read: true, Write: true}, bidi, nil},
		{"a ping", strict, &NOPOut{DataSegmentLength: 8192}, nil, nil},
		{"a ping without an answer", strict, &NOPOut{Immediate: true, InitiatorTaskTag: ReservedTag}, nil, nil},
		{"a text", strict, &Text{Final: true}, nil, nil},
		{"a text that goes on", strict, &Text{Continue: true}, nil, nil},
		{"data", strict, &DataOut{DataSegmentLength: 8192, BufferOffset: 1<<32 - 1 - 8192}, nil, nil},
		{"no data", strict, &DataOut{Final: true}, nil, nil},
		{"a task management function", strict, &TaskMgmt{Function: 99}, nil, nil},
		{"a logout", strict, &Logout{Reason: RemoveConnection}, nil, nil},

		{"a target's opcode", loose, &DataIn{}, nil, ErrOpcode},
		{"another login", loose, &Login{}, nil, ErrLoginAgain},
		{"SNACK", loose, &SNACK{InitiatorTaskTag: ReservedTag}, nil, ErrSNACK},
		{"too much data", loose, &NOPOut{DataSegmentLength: 8193}, nil, ErrTooMuchData},
		{"too much data for a command", loose, &SCSICommand{Final: true, DataSegmentLength: 8193}, nil, ErrTooMuchData},
		{"AHS where none is", loose, &NOPOut{}, cdb, ErrUnwantedAHS},
		{"task management with data", loose, &TaskMgmt{DataSegmentLength: 1}, nil, ErrUnwantedData},
		{"logout with data", loose, &Logout{DataSegmentLength: 1}, nil, ErrUnwantedData},
		{"SNACK with data", loose, &SNACK{DataSegmentLength: 1}, nil, ErrUnwantedData},
		{"a bad AHS", loose, &SCSICommand{Final: true}, cdb[:4], ErrAHS},
		{"a command without a tag", loose, &SCSICommand{Final: true, InitiatorTaskTag: ReservedTag}, nil, ErrNoTaskTag},
		{"task management without a tag", loose, &TaskMgmt{InitiatorTaskTag: ReservedTag}, nil, ErrNoTaskTag},
		{"data without a tag", loose, &DataOut{InitiatorTaskTag: ReservedTag}, nil, ErrNoTaskTag},
		{"text without a tag", loose, &Text{InitiatorTaskTag: ReservedTag}, nil, ErrNoTaskTag},
		{"logout without a tag", loose, &Logout{InitiatorTaskTag: ReservedTag}, nil, ErrNoTaskTag},
		{"a ping that is not immediate", loose, &NOPOut{InitiatorTaskTag: ReservedTag}, nil, ErrNOPNotImmediate},
		{"a text that ends and goes on", loose, &Text{Final: true, Continue: true}, nil, ErrFinalContinues},
		{"a reserved logout reason", loose, &Logout{Reason: 3}, nil, ErrLogoutReason},
		{"data beyond the end", loose, &DataOut{DataSegmentLength: 8192, BufferOffset: 1<<32 - 8192}, nil, ErrBufferOffset},
		{"a reserved attribute", loose, with(func(c *SCSICommand) { c.Attr = 5 }), nil, ErrAttribute},
		{"neither F nor W", loose, &SCSICommand{Read: true}, nil, ErrNotFinalNoWrite},
		{"a length and neither R nor W", loose, &SCSICommand{Final: true, ExpectedDataTransferLength: 1}, nil, ErrLengthNoTransfer},
		{"a read length in one direction", loose, &SCSICommand{Final: true, Read: true}, bidi, ErrBidiNotBoth},
		{"a read with data", loose, &SCSICommand{Final: true, Read: true, DataSegmentLength: 1, ExpectedDataTransferLength: 1}, nil, ErrDataNoWrite},
		{"more data than expected", loose, with(func(c *SCSICommand) { c.ExpectedDataTransferLength-- }), nil, ErrMoreThanExpected},
		{"all data and more to follow", loose, with(func(c *SCSICommand) { c.Final = false }), nil, ErrNothingFollows},
		{"immediate data that was not agreed", strict, &write, nil, ErrImmediateData},
		{"more than the first burst", loose, with(func(c *SCSICommand) { c.ExpectedDataTransferLength, c.DataSegmentLength = 8192, 4097 }), nil, ErrFirstBurst},
		{"unsolicited data that was not agreed", strict, &SCSICommand{Write: true, ExpectedDataTransferLength: 1}, nil, ErrUnsolicited},
	}
	found := map[*RuleError]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := dirty()
			tt.pdu.Encode(h)
			got := tt.rules.Check(h, tt.ahs)
			if got != tt.want {
				t.Errorf("found %v, want %v", got, tt.want)
			}
			found[got] = true
		})
	}
	for _, rule := range []*RuleError{
		ErrOpcode, ErrLoginAgain, ErrSNACK, ErrTooMuchData, ErrUnwantedAHS, ErrUnwantedData, ErrAHS, ErrNoTaskTag,
		ErrNOPNotImmediate, ErrFinalContinues, ErrLogoutReason, ErrBufferOffset, ErrAttribute, ErrNotFinalNoWrite,
		ErrLengthNoTransfer, ErrBidiNotBoth, ErrDataNoWrite, ErrMoreThanExpected, ErrNothingFollows, ErrImmediateData,
		ErrFirstBurst, ErrUnsolicited,
	} {
		if !found[rule] {
			t.Errorf("nothing breaks %q", rule.What)
		}
		if strings.HasPrefix(rule.Reason.String(), "reason") || !strings.Contains(rule.Error(), "section "+rule.Section) {
			t.Errorf("%v has reason %v", rule, rule.Reason)
		}
	}
}

// TestCheckAcceptsReservedBits: receivers ignore them; section 11.
func TestCheckAcceptsReservedBits(t *testing.T) {
	h := dirty()
	(&NOPOut{Immediate: true, InitiatorTaskTag: 1, TargetTransferTag: ReservedTag}).Encode(h)
	h[0] |= 0x80
	h[1], h[2], h[3] = 0xff, 0xff, 0xff
	for i := 32; i < BHSLength; i++ {
		h[i] = 0xff
	}
	rules := Rules{MaxRecvDataSegmentLength: 8192}
	if err := rules.Check(h, nil); err != nil {
		t.Error(err)
	}
}

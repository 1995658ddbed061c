package login

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"elstore/export/iscsi/pdu"
)

// Config is what a target brings to its logins. It may be used by many at the same time, and is not changed
// once it is in use. Every number has a default, which is what 0 means.
type Config struct {
	Authority Authority // required
	Rand      io.Reader // for challenges; crypto/rand's by default

	NoMD5 bool // CHAP with MD5 is refused, though section 12.1.3 has it in every implementation

	// What is offered in negotiations. Where the initiator leaves a key out its default in the RFC holds, so the
	// two burst lengths can't be below that.
	NoDigests                bool // CRC32C is refused
	InitialR2T               bool // no unsolicited Data-Out; section 13.10
	MaxRecvDataSegmentLength int  // bytes, 512 to 16777215; 262144; section 13.12
	MaxBurstLength           int  // bytes, 262144 to 16777215; 1048576; section 13.13
	FirstBurstLength         int  // bytes, 65536 to MaxBurstLength; 262144; section 13.14
	MaxOutstandingR2T        int  // 1 to 65535; 8; section 13.17
	ProtocolLevel            int  // iSCSIProtocolLevel, 1 to 31; 1, which is RFC 7143; section 13.24

	CommandWindow int // how many commands the last response lets the initiator send; 1 to 65535; 128

	// What a login, or a negotiation after it, may cost.
	MaxText   int // bytes of one request's text, over all PDUs that it takes; 8192 to 1048576; 16384
	MaxKeys   int // pairs in all; 16 to 1024; 128
	MaxRounds int // requests; 8 to 1024; 64
}

// defaults that are not the zero value.
const (
	defaultMaxRecvDataSegmentLength = 1 << 18
	defaultMaxBurstLength           = 1 << 20
	defaultFirstBurstLength         = 1 << 18
	defaultMaxOutstandingR2T        = 8
	defaultProtocolLevel            = 1
	defaultCommandWindow            = 128
	defaultMaxText                  = 16384
	defaultMaxKeys                  = 128
	defaultMaxRounds                = 64
)

// Check returns c with its defaults in place, or an error that names every field that is out of range.
func (c Config) Check() (*Config, error) {
	var errs []error
	if c.Authority == nil {
		errs = append(errs, errors.New("an Authority is required"))
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	for _, field := range []struct {
		name           string
		value          *int
		low, high, def int
	}{
		{"MaxRecvDataSegmentLength", &c.MaxRecvDataSegmentLength, minSegment, pdu.MaxDataSegmentLength, defaultMaxRecvDataSegmentLength},
		{"MaxBurstLength", &c.MaxBurstLength, rfcMaxBurstLength, pdu.MaxDataSegmentLength, defaultMaxBurstLength},
		{"FirstBurstLength", &c.FirstBurstLength, rfcFirstBurstLength, pdu.MaxDataSegmentLength, defaultFirstBurstLength},
		{"MaxOutstandingR2T", &c.MaxOutstandingR2T, 1, 65535, defaultMaxOutstandingR2T},
		{"ProtocolLevel", &c.ProtocolLevel, 1, 31, defaultProtocolLevel},
		{"CommandWindow", &c.CommandWindow, 1, 65535, defaultCommandWindow},
		{"MaxText", &c.MaxText, 8192, 1 << 20, defaultMaxText},
		{"MaxKeys", &c.MaxKeys, 16, 1024, defaultMaxKeys},
		{"MaxRounds", &c.MaxRounds, 8, 1024, defaultMaxRounds},
	} {
		if *field.value == 0 {
			*field.value = field.def
		}
		if *field.value < field.low || *field.value > field.high {
			errs = append(errs, fmt.Errorf("%s is %d; it can be %d to %d", field.name, *field.value, field.low, field.high))
		}
	}
	if c.FirstBurstLength > c.MaxBurstLength {
		errs = append(errs, fmt.Errorf("FirstBurstLength %d is over MaxBurstLength %d", c.FirstBurstLength, c.MaxBurstLength))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &c, nil
}

package login

// What the RFC has where nothing is negotiated; section 13.
const (
	minSegment                  = 512
	rfcMaxRecvDataSegmentLength = 8192
	rfcMaxBurstLength           = 262144
	rfcFirstBurstLength         = 65536
	rfcDefaultTime2Wait         = 2
	rfcDefaultTime2Retain       = 20
)

// Params are what a session and its connection were negotiated to be.
type Params struct {
	HeaderDigest bool // CRC32C; section 13.1
	DataDigest   bool // CRC32C; section 13.1

	MaxConnections      int  // 1: what we are able to; section 13.2
	InitialR2T          bool // section 13.10
	ImmediateData       bool // section 13.11
	MaxBurstLength      int  // bytes; section 13.13
	FirstBurstLength    int  // bytes, at most MaxBurstLength; section 13.14
	DefaultTime2Wait    int  // seconds; section 13.15
	DefaultTime2Retain  int  // seconds; section 13.16
	MaxOutstandingR2T   int  // section 13.17
	DataPDUInOrder      bool // section 13.18
	DataSequenceInOrder bool // section 13.19
	ErrorRecoveryLevel  int  // 0: what we are able to; section 13.20
	ProtocolLevel       int  // iSCSIProtocolLevel; section 13.24

	// MaxRecvDataSegmentLength is the initiator's: no data segment that it gets may be longer; bytes; section 13.12.
	MaxRecvDataSegmentLength int
	// TargetMaxRecvDataSegmentLength is our own, as it was declared; bytes.
	TargetMaxRecvDataSegmentLength int
}

// rfcParams are the defaults of the RFC.
func rfcParams() Params {
	return Params{
		MaxConnections:                 1,
		InitialR2T:                     true,
		ImmediateData:                  true,
		MaxBurstLength:                 rfcMaxBurstLength,
		FirstBurstLength:               rfcFirstBurstLength,
		DefaultTime2Wait:               rfcDefaultTime2Wait,
		DefaultTime2Retain:             rfcDefaultTime2Retain,
		MaxOutstandingR2T:              1,
		DataPDUInOrder:                 true,
		DataSequenceInOrder:            true,
		ProtocolLevel:                  1,
		MaxRecvDataSegmentLength:       rfcMaxRecvDataSegmentLength,
		TargetMaxRecvDataSegmentLength: rfcMaxRecvDataSegmentLength,
	}
}

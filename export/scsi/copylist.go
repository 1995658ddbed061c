package scsi

import "encoding/binary"

// What an EXTENDED COPY may hold; RECEIVE COPY OPERATING PARAMETERS says so.
const (
	maximumCopyTargets  = 8
	maximumCopySegments = 64
	maximumCopyList     = maximumCopyTargets*copyTargetLength + maximumCopySegments*copySegmentLength

	copyHeaderLength  = 16
	copyTargetLength  = 32
	copySegmentLength = 28

	copyTargetIdentification = 0xe4
	copyBlockToBlock         = 0x02
)

// copyList is the parameter list of EXTENDED COPY(LID1), SPC-4 section 5.17.7.
type copyList struct {
	id       byte
	keep     bool // the result, for RECEIVE COPY STATUS
	targets  []copyTargetDescriptor
	segments []copySegment
}

// copyTargetDescriptor is an identification descriptor CSCD descriptor, SPC-4 section 6.6.5.3.
type copyTargetDescriptor struct {
	designator Designator
	blockSize  int
}

// copySegment is a block device to block device segment descriptor, SPC-4 section 6.6.6.3.
type copySegment struct {
	countsDestination         bool   // DC: count is in blocks of the destination
	source, destination       uint16 // indexes of targets
	count                     uint16
	sourceLBA, destinationLBA uint64
}

// parseCopyList reads a parameter list.
func parseCopyList(p []byte) (list copyList, a answer) {
	if len(p) < copyHeaderLength {
		return list, illegal(ParameterListLengthError)
	}
	list.id = p[0]
	list.keep = p[1]&0x10 == 0 // LIST ID USAGE: 10b and 11b ask for nothing to be held
	targets := uint64(binary.BigEndian.Uint16(p[2:]))
	segments := uint64(binary.BigEndian.Uint32(p[8:]))
	inline := uint64(binary.BigEndian.Uint32(p[12:]))
	if targets+segments > maximumCopyList || copyHeaderLength+targets+segments+inline > uint64(len(p)) {
		return list, illegal(ParameterListLengthError)
	}
	if inline > 0 {
		return list, illegal(InlineDataTooLong)
	}
	targetList := p[copyHeaderLength : copyHeaderLength+targets]
	segmentList := p[copyHeaderLength+targets : copyHeaderLength+targets+segments]
	if a := list.parseTargets(targetList); a.status != StatusGood {
		return list, a
	}
	return list, list.parseSegments(segmentList, copyHeaderLength+int(targets))
}

func (list *copyList) parseTargets(p []byte) answer {
	switch {
	case len(p) > maximumCopyTargets*copyTargetLength:
		return illegal(TooManyCopyTargets)
	case len(p)%copyTargetLength != 0:
		return badParameter(2, wholeByte)
	}
	for at := 0; at < len(p); at += copyTargetLength {
		d := p[at : at+copyTargetLength]
		if d[0] != copyTargetIdentification {
			return illegal(UnsupportedCopyTargetType)
		}
		if d[1]&0x1f != typeDisk {
			return badParameter(copyHeaderLength+at+1, 4)
		}
		length := int(d[7])
		if length > 20 {
			return badParameter(copyHeaderLength+at+7, wholeByte)
		}
		list.targets = append(list.targets, copyTargetDescriptor{
			designator: Designator{d[4] & 0x0f, d[5] >> 4 & 3, d[5] & 0x0f, string(d[8 : 8+length])},
			blockSize:  int(binary.BigEndian.Uint32(d[28:]) & 0xffffff),
		})
	}
	return good
}

func (list *copyList) parseSegments(p []byte, base int) answer {
	if len(p) > maximumCopySegments*copySegmentLength {
		return illegal(TooManyCopySegments)
	}
	for at := 0; at < len(p); at += copySegmentLength {
		d := p[at:]
		if d[0] != copyBlockToBlock {
			return illegal(UnsupportedCopySegmentType)
		}
		if len(d) < copySegmentLength {
			return badParameter(8, wholeByte)
		}
		if binary.BigEndian.Uint16(d[2:]) != copySegmentLength-4 {
			return badParameter(base+at+2, wholeByte)
		}
		list.segments = append(list.segments, copySegment{
			countsDestination: d[1]&0x02 != 0,
			source:            binary.BigEndian.Uint16(d[4:]),
			destination:       binary.BigEndian.Uint16(d[6:]),
			count:             binary.BigEndian.Uint16(d[10:]),
			sourceLBA:         binary.BigEndian.Uint64(d[12:]),
			destinationLBA:    binary.BigEndian.Uint64(d[20:]),
		})
	}
	return good
}

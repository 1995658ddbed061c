package scsi

import (
	"context"
	"encoding/binary"
)

// modeSelect is MODE SELECT(6) and (10), SPC-4 sections 6.9 and 6.10. Either all pages of the list take
// effect or none.
func modeSelect(ctx context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	switch {
	case c.CDB[1]&0x01 != 0: // SP: nothing can be saved
		return badField(1, 0)
	case c.CDB[1]&0x10 == 0: // not PF: pages of before SPC
		return badField(1, 4)
	}
	length := int(c.operation.length(&c.CDB))
	list, ok := c.parameters(length)
	if !ok {
		return illegal(ParameterListLengthError)
	}
	if length == 0 {
		return good
	}
	at, a := lu.checkModeHeader(list, len(c.operation.usage) == 10)
	if a.status != StatusGood {
		return a
	}

	before, after, a := lu.changeModes(n, list, at)
	if a.status != StatusGood {
		return a
	}
	if after&^before&stateWriteThrough != 0 { // what was written before is in the cache still
		return lu.flush(ctx)
	}
	return good
}

// changeModes gives the mode parameters the values of the pages from at on, and tells the other nexuses.
func (lu *LogicalUnit) changeModes(n *Nexus, list []byte, at int) (before, after unitState, a answer) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	before = unitState(lu.state.Load()) & modeStates
	after, a = lu.selectPages(list, at, before)
	if a.status != StatusGood || after == before {
		return before, before, a
	}
	for _, s := range []unitState{stateWriteProtect, stateWriteThrough, stateDescriptorSense} {
		lu.set(s, after&s != 0)
	}
	lu.raiseOthers(n, attentionMode)
	return before, after, good
}

// checkModeHeader checks the mode parameter header and block descriptors, and returns where the pages begin.
// The only block descriptor that is taken is one that changes nothing.
func (lu *LogicalUnit) checkModeHeader(list []byte, long bool) (at int, a answer) {
	header, lengthAt := 4, 3
	if long {
		header, lengthAt = 8, 6
	}
	if len(list) < header {
		return 0, illegal(ParameterListLengthError)
	}
	size, longLBA := int(list[3]), false
	if long {
		size, longLBA = int(binary.BigEndian.Uint16(list[6:])), list[4]&1 != 0
	}
	if len(list) < header+size {
		return 0, illegal(ParameterListLengthError)
	}
	at = header + size
	if size == 0 {
		return at, good
	}
	var blocks uint64
	var blockSize uint32
	d := list[header:at]
	switch {
	case longLBA && size == 16:
		blocks, blockSize = binary.BigEndian.Uint64(d), binary.BigEndian.Uint32(d[12:])
	case !longLBA && size == 8:
		blocks, blockSize = uint64(binary.BigEndian.Uint32(d)), binary.BigEndian.Uint32(d[4:])&0xffffff
	default:
		return 0, badParameter(lengthAt, wholeByte)
	}
	// Zero blocks means as many as there are; so does the most that fits, SBC-3 section 6.5.2.2.
	if now := lu.blocks.Load(); blocks != 0 && blocks != now && (longLBA || blocks != 0xffffffff) {
		return 0, badParameter(header, wholeByte)
	}
	if blockSize != uint32(lu.cfg.BlockSize) {
		return 0, badParameter(at-3, wholeByte)
	}
	return at, good
}

// selectPages returns the state that the pages from at on ask for.
func (lu *LogicalUnit) selectPages(list []byte, at int, state unitState) (unitState, answer) {
	before := state
	for at < len(list) {
		m, a := lu.selectedPage(list, at)
		if a.status != StatusGood {
			return 0, a
		}
		if len(list)-at < m.length {
			return 0, illegal(ParameterListLengthError)
		}
		p, current, mask := list[at:at+m.length], m.values(lu, before), m.changeable()
		header := 2
		if m.subpage != 0 {
			header = 4
		}
		for i := header; i < m.length; i++ {
			if diff := (p[i] ^ current[i]) &^ mask[i]; diff != 0 {
				return 0, badParameter(at+i, highestBit(diff))
			}
		}
		for _, w := range m.switches {
			if (p[w.at]&w.bit != 0) != w.inverted {
				state |= w.state
			} else {
				state &^= w.state
			}
		}
		at += m.length
	}
	return state, good
}

// selectedPage finds the page whose header is at a place of the list.
func (lu *LogicalUnit) selectedPage(list []byte, at int) (*modePage, answer) {
	if len(list)-at < 2 {
		return nil, illegal(ParameterListLengthError)
	}
	code, subpage, length := list[at]&0x3f, byte(0), int(list[at+1])+2
	lengthAt := at + 1
	if list[at]&0x40 != 0 { // SPF
		if len(list)-at < 4 {
			return nil, illegal(ParameterListLengthError)
		}
		subpage, length = list[at+1], int(binary.BigEndian.Uint16(list[at+2:]))+4
		lengthAt = at + 2
	}
	for i := range modePages {
		m := &modePages[i]
		if m.code != code || m.subpage != subpage || m.needs&^lu.features != 0 {
			continue
		}
		if m.length != length {
			return nil, badParameter(lengthAt, wholeByte)
		}
		return m, good
	}
	return nil, badParameter(at, 5)
}

// highestBit returns the number of the left one of the bits that are set.
func highestBit(b byte) int8 {
	n := int8(-1)
	for ; b != 0; b >>= 1 {
		n++
	}
	return n
}

package scsi

import "encoding/binary"

// modePage is a mode page, SPC-4 section 7.5. Its values follow from unitState alone: what an initiator
// changed lasts until a reset, and nothing is saved.
type modePage struct {
	code, subpage byte
	needs         feature
	length        int // with its header

	// fill writes the values into a page with a header, for the state given.
	fill func(lu *LogicalUnit, s unitState, p []byte)
	// switches are the bits that MODE SELECT may change.
	switches []modeSwitch
}

// modeSwitch is a changeable bit.
type modeSwitch struct {
	at       int
	bit      byte
	state    unitState
	inverted bool // the bit is set where the state is not
}

// modePages has them in the order in which all pages are returned: by code, and 00h would be last.
var modePages = []modePage{
	{code: 0x01, length: 12, fill: errorRecovery},
	{code: 0x08, needs: featureDisk, length: 20, fill: caching, switches: []modeSwitch{{2, 0x04, stateWriteThrough, true}}},
	{code: 0x0a, length: 12, fill: control, switches: []modeSwitch{{2, 0x04, stateDescriptorSense, false}, {4, 0x08, stateWriteProtect, false}}},
	{code: 0x0a, subpage: 0x01, length: 32, fill: controlExtension},
	{code: 0x1c, length: 12, fill: informationalExceptions},
	{code: 0x2a, needs: featureCD, length: 24, fill: cdCapabilities},
}

const (
	allPages      = 0x3f
	allSubpages   = 0xff
	modeStates    = stateWriteProtect | stateWriteThrough | stateDescriptorSense
	defaultStates = unitState(0)
)

// resetModes gives every mode parameter its default value.
func (lu *LogicalUnit) resetModes() { lu.state.And(^uint32(modeStates)) }

// header writes page code and length.
func (m *modePage) header(p []byte) {
	p[0] = m.code
	if m.subpage == 0 {
		p[1] = byte(m.length - 2)
		return
	}
	p[0] |= 0x40 // SPF
	p[1] = m.subpage
	binary.BigEndian.PutUint16(p[2:], uint16(m.length-4))
}

// values returns the page for a state.
func (m *modePage) values(lu *LogicalUnit, s unitState) []byte {
	p := make([]byte, m.length)
	m.header(p)
	m.fill(lu, s, p)
	for _, w := range m.switches {
		if (s&w.state != 0) != w.inverted {
			p[w.at] |= w.bit
		}
	}
	return p
}

// changeable returns the page with each changeable bit set, and no other.
func (m *modePage) changeable() []byte {
	p := make([]byte, m.length)
	m.header(p)
	for _, w := range m.switches {
		p[w.at] |= w.bit
	}
	return p
}

func errorRecovery(lu *LogicalUnit, _ unitState, p []byte) {
	if !lu.cfg.CDROM {
		p[2] = 0xc0 // AWRE, ARRE: what is below us does that
	}
}

func caching(*LogicalUnit, unitState, []byte) {}

func control(_ *LogicalUnit, _ unitState, p []byte) {
	p[2] = 0x20 // TST: each nexus has a task set of its own
	p[3] = 0x10 // QUEUE ALGORITHM MODIFIER: SIMPLE commands in any order
	p[5] = 0x40 // TAS: a task that another nexus aborted ends with TASK ABORTED
}

func controlExtension(*LogicalUnit, unitState, []byte) {}

func informationalExceptions(_ *LogicalUnit, _ unitState, p []byte) {
	p[2] = 0x08 // DEXCPT: there is no prediction of failures
}

// cdCapabilities is page 2Ah, which MMC-3 section 5.5.10 has last and drivers still ask for.
func cdCapabilities(_ *LogicalUnit, _ unitState, p []byte) {
	p[2] = 0x3b                                // reads CD-R, CD-RW, DVD-ROM, DVD-R, method 2
	p[4] = 0x70                                // mode 2 form 1 and 2, multi-session
	p[6] = 0x29                                // tray, eject, lock
	binary.BigEndian.PutUint16(p[8:], 50*176)  // maximum read speed, kB/s
	binary.BigEndian.PutUint16(p[12:], 2048)   // buffer size, kB
	binary.BigEndian.PutUint16(p[14:], 50*176) // current read speed
}

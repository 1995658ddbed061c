package scsi

import "context"

// feature is what a unit has; an operation is offered where the unit has all that it needs.
type feature uint8

const (
	featureDisk feature = 1 << iota
	featureCD
	featureThin
	featureUnmap
	featureRemovable
	featureErase
)

func (c *Config) features() feature {
	f := featureDisk
	if c.CDROM {
		f = featureCD
	}
	if c.Thin {
		f |= featureThin
		if !c.NoUnmap {
			f |= featureUnmap
		}
	}
	if c.Removable {
		f |= featureRemovable
	}
	if _, ok := c.Device.(Eraser); ok && !c.ReadOnly {
		f |= featureErase
	}
	return f
}

// denial is what a reservation of another nexus forbids.
type denial uint8

const (
	denyReads  denial = 1 << iota // commands that SPC-4 and SBC-3 let through Write Exclusive
	denyWrites                    // commands that conflict with every persistent reservation
	denyLegacy                    // all that SPC-2 has conflict with RESERVE
)

// What an operation conflicts with: the classes of SPC-4 table 66 and SBC-3 table 13.
const (
	never     denial = 0
	byReserve        = denyLegacy
	asRead           = denyLegacy | denyReads
	asWrite          = denyLegacy | denyWrites
)

// payload is what data a command moves.
type payload uint8

const (
	noData        payload = iota
	toInitiator           // at most the allocation length, at operation.at
	fromInitiator         // a parameter list, whose length is at operation.at
	blocksIn              // the blocks of the span
	blocksOut             // the same
	blocksVerify          // as many blocks as BYTCHK says
	oneBlock              // WRITE SAME: a block, or none with NDOB
	blocksTwice           // COMPARE AND WRITE: the blocks to compare and those to write
)

// trait is a rule that an operation follows.
type trait uint8

const (
	quiet      trait = 1 << iota // runs though a unit attention is pending, and leaves it
	needMedium                   // NOT READY without a medium
	changes                      // changes the medium: DATA PROTECT where that is not allowed
	protection                   // has RDPROTECT, WRPROTECT or VRPROTECT, which must be zero
	limited                      // the maximum transfer length applies
	serves                       // runs during a sanitize operation and after one that failed, SBC-3 section 4.11.2
	ordains                      // changes reservations, mode pages or the state of the medium's tray
)

// operation is a command that the unit knows: one row of the table, which dispatches, and which REPORT
// SUPPORTED OPERATION CODES shows.
type operation struct {
	name    string
	code    byte
	service bool // code alone is not enough: action is in byte 1
	action  byte
	needs   feature

	// usage is the CDB usage data, SPC-4 section 6.37.3: the bits that the unit looks at. Its length is the
	// CDB's. What depends on features is taken out by hide.
	usage string

	form      form
	data      payload
	at, width uint8 // of the allocation or parameter list length
	kind      Kind
	conflicts denial
	traits    trait

	run func(ctx context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer
}

// is reports whether the operation follows a rule.
func (op *operation) is(t trait) bool { return op.traits&t != 0 }

// index finds the rows of an operation code. It is filled once, since the table's functions look at it.
var index [256][]*operation

func init() {
	for _, table := range [][]operation{primaryOperations, blockOperations, reservationOperations, mediaOperations} {
		for i := range table {
			op := &table[i]
			index[op.code] = append(index[op.code], op)
		}
	}
}

// find returns the operation that a CDB asks for, or nil.
func (lu *LogicalUnit) find(cdb *[16]byte) *operation {
	for _, op := range index[cdb[0]] {
		if op.needs&^lu.features == 0 && (!op.service || op.action == cdb[1]&0x1f) {
			return op
		}
	}
	return nil
}

// knowsCode reports whether the unit has any operation with the code.
func (lu *LogicalUnit) knowsCode(code byte) bool {
	for _, op := range index[code] {
		if op.needs&^lu.features == 0 {
			return true
		}
	}
	return false
}

// length reads a length field of the CDB.
func (op *operation) length(cdb *[16]byte) uint32 {
	var n uint32
	for _, b := range cdb[op.at : op.at+op.width] {
		n = n<<8 | uint32(b)
	}
	return n
}

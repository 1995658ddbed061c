package scsi

import "time"

// Status is what ends a command, SAM-5 section 5.3.1.
type Status uint8

// Statuses.
const (
	StatusGood                Status = 0x00
	StatusCheckCondition      Status = 0x02
	StatusBusy                Status = 0x08
	StatusReservationConflict Status = 0x18
	StatusTaskSetFull         Status = 0x28
	StatusTaskAborted         Status = 0x40
)

// Attribute is a task attribute, SAM-5 section 8.6. The values are iSCSI's.
type Attribute uint8

// Task attributes.
const (
	Untagged    Attribute = 0
	Simple      Attribute = 1
	Ordered     Attribute = 2
	HeadOfQueue Attribute = 3
	ACA         Attribute = 4 // refused: ACA is not supported
)

// Command is one command and its answer. A transport owns it, fills in the upper part, hands it to one Execute
// at a time and may use it again afterwards.
type Command struct {
	CDB       [16]byte  // shorter ones are padded with zeros
	Attribute Attribute // the transport keeps the order that it asks for
	Expected  int64     // bytes that the initiator gives or has room for: Expected Data Transfer Length

	// In is where the data for the initiator goes. It should hold min(Expected, Plan.In) bytes; where it
	// holds fewer, the rest is cut off as SAM-5 says.
	In []byte
	// Out is the data from the initiator, in pieces. The transport need not fetch more than Plan.Out bytes;
	// what is there beyond that is ignored. It is read until Execute returns, and never written.
	Out [][]byte

	Status   Status // the answer
	Received int    // bytes of In that are the answer's
	Transfer int64  // bytes that the command itself moves, however many the initiator expected

	operation   *operation // what Admit found
	span        span       // its medium range
	start       time.Time
	senseLength int
	sense       [maximumSenseLength]byte
}

// Sense returns the sense data of a CHECK CONDITION, else nothing. It is valid until the Command is used again.
func (c *Command) Sense() []byte { return c.sense[:c.senseLength] }

// Residual returns how many bytes less than Expected the command moves, or, with over, how many more it would
// have moved, RFC 7143 section 11.4.5.
func (c *Command) Residual() (count int64, over bool) {
	if c.Transfer > c.Expected {
		return c.Transfer - c.Expected, true
	}
	return c.Expected - c.Transfer, false
}

// reset forgets the answer of the last use.
func (c *Command) reset() {
	c.Status, c.Received, c.Transfer = StatusGood, 0, 0
	c.operation, c.span, c.start, c.senseLength = nil, span{}, time.Time{}, 0
}

// end stores the answer.
func (c *Command) end(a answer, descriptors bool) {
	c.Status = a.status
	c.senseLength = 0
	if a.status != StatusGood {
		c.Received = 0
	}
	if a.status == StatusCheckCondition {
		c.senseLength = len(a.appendSense(c.sense[:0], descriptors))
	}
}

// reply answers with data, of which the initiator wants at most the allocation length.
func (c *Command) reply(data []byte, allocation int) answer {
	data = data[:min(len(data), allocation)]
	c.Transfer = int64(len(data))
	c.Received = copy(c.In, data)
	return good
}

// offered returns how many bytes of data the initiator sent.
func (c *Command) offered() int64 { return total(c.Out) }

// parameters returns the first n bytes of the data, or ok false where fewer came. It copies only where they
// came in pieces.
func (c *Command) parameters(n int) (list []byte, ok bool) {
	if n == 0 {
		return nil, true
	}
	if len(c.Out) > 0 && len(c.Out[0]) >= n {
		return c.Out[0][:n], true
	}
	if c.offered() < int64(n) {
		return nil, false
	}
	list = make([]byte, 0, n)
	for _, piece := range c.Out {
		list = append(list, piece[:min(len(piece), n-len(list))]...)
	}
	return list, true
}

package scsi

import "context"

// requestSense is REQUEST SENSE, SPC-4 section 6.39. It takes the unit attention that another command would
// have been ended with.
func requestSense(_ context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	var a answer
	if code, ok := n.takeAttention(); ok {
		a = check(UnitAttention, code)
	} else if lu.is(stateSanitizing | stateSanitizeFailed) {
		a = lu.sanitizeAnswer()
	}
	return c.reply(a.appendSense(nil, c.CDB[1]&0x01 != 0), int(c.CDB[4]))
}

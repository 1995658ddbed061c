package scsi

import "context"

// readDefectData is READ DEFECT DATA(10) and (12), SBC-3 sections 5.16 and 5.17. Monitoring tools ask for the
// number of grown defects; a virtual medium has none, in whatever format.
func readDefectData(_ context.Context, _ *LogicalUnit, _ *Nexus, c *Command) answer {
	list, asked := make([]byte, 4), c.CDB[2]
	if len(c.operation.usage) == 12 {
		list, asked = make([]byte, 8), c.CDB[1]
	}
	list[1] = asked & 0x1f // REQ_PLIST, REQ_GLIST and the format, which are answered as PLISTV, GLISTV and the format
	return c.reply(list, int(min(c.operation.length(&c.CDB), maximumParameterIn)))
}

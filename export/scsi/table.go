package scsi

// Operation codes that are named elsewhere.
const (
	opRequestSense       = 0x03
	opInquiry            = 0x12
	opStartStopUnit      = 0x1b
	opExtendedCopy       = 0x83
	opReceiveCopyResults = 0x84
	opReportLuns         = 0xa0

	actionCopyLID1            = 0x00
	actionCopyStatus          = 0x00
	actionOperatingParameters = 0x03
)

// primaryOperations are the commands of SPC-4.
var primaryOperations = []operation{
	{name: "TEST UNIT READY", code: 0x00, usage: "\x00\x00\x00\x00\x00\x04", conflicts: byReserve, traits: needMedium, run: testUnitReady},
	{
		name: "REQUEST SENSE", code: opRequestSense, usage: "\x03\x01\x00\x00\xff\x04",
		data: toInitiator, at: 4, width: 1, traits: quiet | serves, run: requestSense,
	},
	{
		name: "INQUIRY", code: opInquiry, usage: "\x12\x01\xff\xff\xff\x04",
		data: toInitiator, at: 3, width: 2, traits: quiet | serves, run: inquiry,
	},
	{
		name: "MODE SELECT(6)", code: 0x15, usage: "\x15\x11\x00\x00\xff\x04",
		data: fromInitiator, at: 4, width: 1, conflicts: asWrite, traits: ordains, run: modeSelect,
	},
	{
		name: "MODE SENSE(6)", code: 0x1a, usage: "\x1a\x08\xff\xff\xff\x04",
		data: toInitiator, at: 4, width: 1, conflicts: byReserve, run: modeSense,
	},
	{
		name: "LOG SENSE", code: 0x4d, usage: "\x4d\x00\xff\xff\x00\xff\xff\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, conflicts: byReserve, traits: serves, run: logSense,
	},
	{
		name: "MODE SELECT(10)", code: 0x55, usage: "\x55\x11\x00\x00\x00\x00\x00\xff\xff\x04",
		data: fromInitiator, at: 7, width: 2, conflicts: asWrite, traits: ordains, run: modeSelect,
	},
	{
		name: "MODE SENSE(10)", code: 0x5a, usage: "\x5a\x18\xff\xff\x00\x00\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, conflicts: byReserve, run: modeSense,
	},
	{
		name: "EXTENDED COPY(LID1)", code: opExtendedCopy, service: true, action: actionCopyLID1, needs: featureDisk,
		usage: "\x83\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  fromInitiator, at: 10, width: 4, kind: KindCopy, conflicts: never, traits: needMedium, run: extendedCopy,
	},
	{
		name: "RECEIVE COPY STATUS(LID1)", code: opReceiveCopyResults, service: true, action: actionCopyStatus, needs: featureDisk,
		usage: "\x84\x00\xff\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 10, width: 4, conflicts: asWrite, run: receiveCopyStatus,
	},
	{
		name: "RECEIVE COPY OPERATING PARAMETERS", code: opReceiveCopyResults, service: true, action: actionOperatingParameters, needs: featureDisk,
		usage: "\x84\x03\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 10, width: 4, conflicts: asWrite, run: copyParameters,
	},
	{
		name: "REPORT LUNS", code: opReportLuns, usage: "\xa0\x00\xff\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data: toInitiator, at: 6, width: 4, traits: quiet | serves, run: reportLuns,
	},
	{
		name: "REPORT TARGET PORT GROUPS", code: 0xa3, service: true, action: 0x0a,
		usage: "\xa3\xea\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 6, width: 4, conflicts: byReserve, traits: serves, run: reportTargetPortGroups,
	},
	{
		name: "REPORT SUPPORTED OPERATION CODES", code: 0xa3, service: true, action: 0x0c,
		usage: "\xa3\x0c\x87\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 6, width: 4, conflicts: byReserve, traits: serves, run: reportOperationCodes,
	},
	{
		name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", code: 0xa3, service: true, action: 0x0d,
		usage: "\xa3\x0d\x80\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 6, width: 4, conflicts: byReserve, traits: serves, run: reportTaskManagement,
	},
}

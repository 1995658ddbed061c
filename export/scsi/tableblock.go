package scsi

const (
	reads  = needMedium | protection | limited
	writes = needMedium | protection | limited | changes
)

// blockOperations are the commands of SBC-3.
var blockOperations = []operation{
	{
		name: "READ(6)", code: 0x08, needs: featureDisk, usage: "\x08\x1f\xff\xff\xff\x04",
		form: blocks6, data: blocksIn, kind: KindRead, conflicts: asRead, traits: needMedium | limited, run: read,
	},
	{
		name: "WRITE(6)", code: 0x0a, needs: featureDisk, usage: "\x0a\x1f\xff\xff\xff\x04",
		form: blocks6, data: blocksOut, kind: KindWrite, conflicts: asWrite, traits: needMedium | limited | changes, run: write,
	},
	{
		name: "START STOP UNIT", code: opStartStopUnit, usage: "\x1b\x00\x00\x00\xf7\x04",
		conflicts: byReserve, traits: ordains, run: startStopUnit,
	},
	{
		name: "PREVENT ALLOW MEDIUM REMOVAL", code: 0x1e, needs: featureRemovable, usage: "\x1e\x00\x00\x00\x03\x04",
		traits: ordains, run: preventRemoval,
	},
	{
		name: "READ CAPACITY(10)", code: 0x25, usage: "\x25\x00\x00\x00\x00\x00\x00\x00\x00\x04",
		data: toInitiator, at: 8, conflicts: byReserve, traits: needMedium, run: readCapacity10,
	},
	{
		name: "READ(10)", code: 0x28, usage: "\x28\x18\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, data: blocksIn, kind: KindRead, conflicts: asRead, traits: reads, run: read,
	},
	{
		name: "WRITE(10)", code: 0x2a, needs: featureDisk, usage: "\x2a\x18\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, data: blocksOut, kind: KindWrite, conflicts: asWrite, traits: writes, run: write,
	},
	{
		name: "WRITE AND VERIFY(10)", code: 0x2e, needs: featureDisk, usage: "\x2e\x16\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, data: blocksOut, kind: KindVerify, conflicts: asWrite, traits: writes, run: writeAndVerify,
	},
	{
		name: "VERIFY(10)", code: 0x2f, needs: featureDisk, usage: "\x2f\x16\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, data: blocksVerify, kind: KindVerify, conflicts: asRead, traits: reads, run: verify,
	},
	{
		name: "PRE-FETCH(10)", code: 0x34, needs: featureDisk, usage: "\x34\x00\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, conflicts: asRead, traits: needMedium, run: preFetch,
	},
	{
		name: "SYNCHRONIZE CACHE(10)", code: 0x35, needs: featureDisk, usage: "\x35\x00\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, kind: KindFlush, conflicts: asWrite, traits: needMedium, run: synchronizeCache,
	},
	{
		name: "READ DEFECT DATA(10)", code: 0x37, needs: featureDisk, usage: "\x37\x00\x1f\x00\x00\x00\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, conflicts: asRead, traits: needMedium, run: readDefectData,
	},
	{
		name: "WRITE SAME(10)", code: 0x41, needs: featureDisk, usage: "\x41\x08\xff\xff\xff\xff\x00\xff\xff\x04",
		form: blocks10, data: oneBlock, kind: KindZero, conflicts: asWrite, traits: needMedium | protection | changes, run: writeSame,
	},
	{
		name: "UNMAP", code: 0x42, needs: featureDisk | featureUnmap, usage: "\x42\x00\x00\x00\x00\x00\x00\xff\xff\x04",
		data: fromInitiator, at: 7, width: 2, kind: KindZero, conflicts: asWrite, traits: needMedium | changes, run: unmap,
	},
	{
		name: "SANITIZE, BLOCK ERASE", code: 0x48, service: true, action: 0x02, needs: featureDisk | featureErase,
		usage: "\x48\x82\x00\x00\x00\x00\x00\x00\x00\x04",
		kind:  KindZero, conflicts: asWrite, traits: needMedium | changes | serves, run: blockErase,
	},
	{
		name: "SANITIZE, EXIT FAILURE MODE", code: 0x48, service: true, action: 0x1f, needs: featureDisk | featureErase,
		usage:     "\x48\x1f\x00\x00\x00\x00\x00\x00\x00\x04",
		conflicts: asWrite, traits: needMedium | changes | serves, run: exitFailureMode,
	},
	{
		name: "READ(16)", code: 0x88, needs: featureDisk,
		usage: "\x88\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: blocksIn, kind: KindRead, conflicts: asRead, traits: reads, run: read,
	},
	{
		name: "COMPARE AND WRITE", code: 0x89, needs: featureDisk,
		usage: "\x89\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\xff\x00\x04",
		form:  blocksCompare, data: blocksTwice, kind: KindVerify, conflicts: asWrite, traits: needMedium | protection | changes, run: compareAndWrite,
	},
	{
		name: "WRITE(16)", code: 0x8a, needs: featureDisk,
		usage: "\x8a\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: blocksOut, kind: KindWrite, conflicts: asWrite, traits: writes, run: write,
	},
	{
		name: "ORWRITE(16)", code: 0x8b, needs: featureDisk,
		usage: "\x8b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: blocksOut, kind: KindVerify, conflicts: asWrite, traits: writes, run: orWrite,
	},
	{
		name: "WRITE AND VERIFY(16)", code: 0x8e, needs: featureDisk,
		usage: "\x8e\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: blocksOut, kind: KindVerify, conflicts: asWrite, traits: writes, run: writeAndVerify,
	},
	{
		name: "VERIFY(16)", code: 0x8f, needs: featureDisk,
		usage: "\x8f\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: blocksVerify, kind: KindVerify, conflicts: asRead, traits: reads, run: verify,
	},
	{
		name: "PRE-FETCH(16)", code: 0x90, needs: featureDisk,
		usage: "\x90\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, conflicts: asRead, traits: needMedium, run: preFetch,
	},
	{
		name: "SYNCHRONIZE CACHE(16)", code: 0x91, needs: featureDisk,
		usage: "\x91\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, kind: KindFlush, conflicts: asWrite, traits: needMedium, run: synchronizeCache,
	},
	{
		name: "WRITE SAME(16)", code: 0x93, needs: featureDisk,
		usage: "\x93\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocks16, data: oneBlock, kind: KindZero, conflicts: asWrite, traits: needMedium | protection | changes, run: writeSame,
	},
	{
		name: "READ CAPACITY(16)", code: 0x9e, service: true, action: 0x10, needs: featureDisk,
		usage: "\x9e\x10\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data:  toInitiator, at: 10, width: 4, conflicts: byReserve, traits: needMedium, run: readCapacity16,
	},
	{
		name: "GET LBA STATUS", code: 0x9e, service: true, action: 0x12, needs: featureDisk,
		usage: "\x9e\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form:  blocksStart, data: toInitiator, at: 10, width: 4, conflicts: asRead, traits: needMedium, run: getLBAStatus,
	},
	{
		name: "READ(12)", code: 0xa8, usage: "\xa8\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form: blocks12, data: blocksIn, kind: KindRead, conflicts: asRead, traits: reads, run: read,
	},
	{
		name: "WRITE(12)", code: 0xaa, needs: featureDisk, usage: "\xaa\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form: blocks12, data: blocksOut, kind: KindWrite, conflicts: asWrite, traits: writes, run: write,
	},
	{
		name: "WRITE AND VERIFY(12)", code: 0xae, needs: featureDisk, usage: "\xae\x16\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form: blocks12, data: blocksOut, kind: KindVerify, conflicts: asWrite, traits: writes, run: writeAndVerify,
	},
	{
		name: "VERIFY(12)", code: 0xaf, needs: featureDisk, usage: "\xaf\x16\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04",
		form: blocks12, data: blocksVerify, kind: KindVerify, conflicts: asRead, traits: reads, run: verify,
	},
	{
		name: "READ DEFECT DATA(12)", code: 0xb7, needs: featureDisk, usage: "\xb7\x1f\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04",
		data: toInitiator, at: 6, width: 4, conflicts: asRead, traits: needMedium, run: readDefectData,
	},
}

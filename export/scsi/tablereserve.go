package scsi

// reservationOperations are the commands that reserve a unit: SPC-2's and SPC-4's. What they conflict with they
// find out themselves.
var reservationOperations = []operation{
	{name: "RESERVE(6)", code: 0x16, usage: "\x16\x11\x00\x00\x00\x04", conflicts: byReserve, traits: ordains, run: reserve},
	{name: "RELEASE(6)", code: 0x17, usage: "\x17\x11\x00\x00\x00\x04", conflicts: never, traits: ordains, run: release},
	{name: "RESERVE(10)", code: 0x56, usage: "\x56\x11\x00\x00\x00\x00\x00\x00\x00\x04", conflicts: byReserve, traits: ordains, run: reserve},
	{name: "RELEASE(10)", code: 0x57, usage: "\x57\x11\x00\x00\x00\x00\x00\x00\x00\x04", conflicts: never, traits: ordains, run: release},

	reserveIn("READ KEYS", inReadKeys),
	reserveIn("READ RESERVATION", inReservation),
	reserveIn("REPORT CAPABILITIES", inCapabilities),
	reserveIn("READ FULL STATUS", inFullStatus),

	reserveOut("REGISTER", outRegister),
	reserveOut("RESERVE", outReserve),
	reserveOut("RELEASE", outRelease),
	reserveOut("CLEAR", outClear),
	reserveOut("PREEMPT", outPreempt),
	reserveOut("PREEMPT AND ABORT", outPreemptAbort),
	reserveOut("REGISTER AND IGNORE EXISTING KEY", outRegisterIgnore),
	reserveOut("REGISTER AND MOVE", outRegisterAndMove),
}

func reserveIn(name string, action byte) operation {
	return operation{
		name: "PERSISTENT RESERVE IN, " + name, code: 0x5e, service: true, action: action,
		usage: "\x5e" + string([]byte{action}) + "\x00\x00\x00\x00\x00\xff\xff\x04",
		data:  toInitiator, at: 7, width: 2, conflicts: byReserve, run: persistentReserveIn,
	}
}

func reserveOut(name string, action byte) operation {
	return operation{
		name: "PERSISTENT RESERVE OUT, " + name, code: 0x5f, service: true, action: action,
		usage: "\x5f" + string([]byte{action}) + "\xff\x00\x00\xff\xff\xff\xff\x04",
		data:  fromInitiator, at: 5, width: 4, conflicts: byReserve, traits: ordains, run: persistentReserveOut,
	}
}

package scsi

// mediaOperations are the commands of MMC-6 that a CD-ROM with one data track needs beside those of SPC-4 and
// SBC-3.
var mediaOperations = []operation{
	{
		name: "READ TOC/PMA/ATIP", code: 0x43, needs: featureCD, usage: "\x43\x02\x0f\x00\x00\x00\xff\xff\xff\xc4",
		data: toInitiator, at: 7, width: 2, conflicts: asRead, traits: needMedium, run: readTOC,
	},
	{
		name: "GET CONFIGURATION", code: 0x46, needs: featureCD, usage: "\x46\x03\xff\xff\x00\x00\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, traits: quiet, run: getConfiguration,
	},
	{
		name: "GET EVENT STATUS NOTIFICATION", code: 0x4a, needs: featureCD, usage: "\x4a\x01\x00\x00\xff\x00\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, traits: quiet, run: getEventStatus,
	},
	{
		name: "READ DISC INFORMATION", code: 0x51, needs: featureCD, usage: "\x51\x07\x00\x00\x00\x00\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, conflicts: asRead, traits: needMedium, run: readDiscInformation,
	},
	{
		name: "READ TRACK INFORMATION", code: 0x52, needs: featureCD, usage: "\x52\x03\xff\xff\xff\xff\x00\xff\xff\x04",
		data: toInitiator, at: 7, width: 2, conflicts: asRead, traits: needMedium, run: readTrackInformation,
	},
	{
		name: "MECHANISM STATUS", code: 0xbd, needs: featureCD, usage: "\xbd\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x04",
		data: toInitiator, at: 8, width: 2, conflicts: byReserve, run: mechanismStatus,
	},
}

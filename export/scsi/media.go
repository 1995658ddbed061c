package scsi

import (
	"context"
	"encoding/binary"
	"slices"
)

// Profiles of discs, MMC-6 table 95.
const (
	profileNone  = 0x0000
	profileCDROM = 0x0008
	profileDVD   = 0x0010
)

// maximumCD is how many sectors a TOC in minutes, seconds and frames can tell of: 99:59:74, less the pregap.
const maximumCD = 100*60*framesPerSec - pregap

// profile returns what kind of disc is in.
func (lu *LogicalUnit) profile() uint16 {
	switch {
	case lu.is(stateEjected):
		return profileNone
	case lu.blocks.Load() > maximumCD:
		return profileDVD
	}
	return profileCDROM
}

// mediaFeature is a feature descriptor, MMC-6 section 5.3.
type mediaFeature struct {
	code    uint16
	version byte
	always  bool   // persistent
	profile uint16 // current only with this disc; 0: with any
	data    []byte
}

// mediaFeatures has them in the order of their codes.
var mediaFeatures = []mediaFeature{
	{code: 0x0000, always: true}, // the profiles, which depend on the disc
	{code: 0x0001, version: 2, always: true, data: []byte{0, 0, 0, 1, 0x01, 0, 0, 0}}, // core: SCSI; DBE
	{code: 0x0002, version: 1, always: true, data: []byte{0x02, 0, 0, 0}},             // morphing: OCEvent
	{code: 0x0003, version: 2, always: true, data: []byte{0x39, 0, 0, 0}},             // removable medium: tray, load, eject, lock
	{code: 0x0010, data: []byte{0, 0, cdBlockSize >> 8, 0, 0, 1, 0, 0}},               // random readable
	{code: 0x001e, version: 2, profile: profileCDROM, data: []byte{0, 0, 0, 0}},       // CD read
	{code: 0x001f, version: 1, profile: profileDVD, data: []byte{0, 0, 0, 0}},         // DVD read
	{code: 0x0100, always: true},                                       // power management
	{code: 0x0105, version: 1, always: true, data: []byte{0, 0, 0, 0}}, // time-out
}

// getConfiguration is GET CONFIGURATION, MMC-6 section 6.5.
func getConfiguration(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	which, from := c.CDB[1]&0x03, binary.BigEndian.Uint16(c.CDB[2:])
	if which == 3 {
		return badField(1, 1)
	}
	profile := lu.profile()
	list := make([]byte, 8)
	binary.BigEndian.PutUint16(list[6:], profile)
	for i := range mediaFeatures {
		f := &mediaFeatures[i]
		current := f.always || profile != profileNone && (f.profile == 0 || f.profile == profile)
		switch which {
		case 0: // all from there on
			if f.code < from {
				continue
			}
		case 1: // those that are current
			if f.code < from || !current {
				continue
			}
		case 2: // that one
			if f.code != from {
				continue
			}
		}
		list = f.append(list, profile, current)
	}
	binary.BigEndian.PutUint32(list, uint32(len(list)-4))
	return c.reply(list, int(c.operation.length(&c.CDB)))
}

func (f *mediaFeature) append(list []byte, profile uint16, current bool) []byte {
	data := f.data
	if f.code == 0x0000 {
		for _, p := range []uint16{profileDVD, profileCDROM} {
			isCurrent := byte(0)
			if p == profile {
				isCurrent = 1
			}
			data = append(slices.Clip(data), byte(p>>8), byte(p), isCurrent, 0)
		}
	}
	flags := f.version << 2
	if f.always {
		flags |= 0x02
	}
	if current {
		flags |= 0x01
	}
	list = append(list, byte(f.code>>8), byte(f.code), flags, byte(len(data)))
	return append(list, data...)
}

// getEventStatus is GET EVENT STATUS NOTIFICATION, MMC-6 section 6.6, polled. The one class of events is
// media; that the medium was changed is told by unit attentions.
func getEventStatus(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if c.CDB[1]&0x01 == 0 { // POLLED
		return badField(1, 0)
	}
	const mediaClass, mediaMask, noEvent = 4, 1 << 4, 0x80
	list := []byte{0, 2, noEvent, mediaMask}
	if c.CDB[4]&mediaMask != 0 {
		status := byte(0x02) // medium present
		if lu.is(stateEjected) {
			status = 0x01 // tray open
		}
		list = []byte{0, 6, mediaClass, mediaMask, 0, status, 0, 0}
	}
	return c.reply(list, int(c.operation.length(&c.CDB)))
}

// mechanismStatus is MECHANISM STATUS, MMC-6 section 6.13, of a drive that changes no discs.
func mechanismStatus(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	var b [8]byte
	if lu.is(stateEjected) {
		b[1] = 0x10 // door open
	}
	return c.reply(b[:], int(c.operation.length(&c.CDB)))
}

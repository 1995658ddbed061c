package scsi

import (
	"encoding/binary"
	"strings"
)

// isidSeparator stands in an iSCSI initiator port's name between the initiator's name and the ISID.
const isidSeparator = ",i,0x"

// transportID is an iSCSI TransportID, SPC-4 section 7.6.4.6.
type transportID struct {
	name    string // the initiator's
	session string // the ISID in lower-case hexadecimal digits; empty means any
	length  int    // in bytes, with the header
}

// portName returns the SCSI initiator port name.
func (id transportID) portName() string { return id.name + isidSeparator + id.session }

const (
	shortestTransportID = 24
	longestISCSIName    = 223
)

// parseTransportID reads the TransportID that p begins with.
func parseTransportID(p []byte) (id transportID, ok bool) {
	if len(p) < shortestTransportID || p[0]&0x3f != protocolISCSI {
		return id, false
	}
	id.length = int(binary.BigEndian.Uint16(p[2:])) + 4
	if id.length < shortestTransportID || id.length%4 != 0 || id.length > len(p) {
		return id, false
	}
	text, _, ended := strings.Cut(string(p[4:id.length]), "\x00")
	if !ended {
		return id, false
	}
	text = strings.ToLower(text)
	switch p[0] >> 6 {
	case 0:
		id.name = text
	case 1:
		id.name, id.session, ok = strings.Cut(text, isidSeparator)
		if !ok || len(id.session) != 12 || strings.Trim(id.session, "0123456789abcdef") != "" {
			return id, false
		}
	default:
		return id, false
	}
	return id, id.name != "" && len(id.name) <= longestISCSIName && isPrintable(id.name)
}

// appendTransportID appends the TransportID of an initiator port.
func appendTransportID(p []byte, portName string) []byte {
	format := byte(0)
	if strings.Contains(portName, isidSeparator) {
		format = 1
	}
	length := max((len(portName)+1+3)&^3, shortestTransportID-4)
	p = append(p, format<<6|protocolISCSI, 0, byte(length>>8), byte(length))
	p = append(p, portName...)
	return append(p, make([]byte, length-len(portName))...)
}

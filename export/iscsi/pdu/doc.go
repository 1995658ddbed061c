// Package pdu is the wire format of iSCSI (RFC 7143): headers, their fields, the text of negotiations, digests,
// and the framing of a byte stream. It knows nothing of sessions: what a PDU means is decided elsewhere.
//
// A header is a BHS, 48 bytes as they are on the wire. Each kind of PDU is a struct with the RFC's field names
// and two methods: Decode takes the fields out of a BHS, Encode puts them into one and leaves every reserved
// bit zero. Both are for the opcode of their struct alone and never fail; what a target must refuse is found
// by Check. Nothing here allocates per PDU.
//
// Section numbers are those of RFC 7143 where no other document is named.
package pdu

// Package iso builds and reads ISO 9660 images, and keeps volumes that hold them.
//
// Build makes small images in memory (go-diskfs lays them out): the same files give the same bytes, on any machine and
// at any time. Open reads images that strangers made: every length and place in them is checked before it is used,
// nothing is mounted, and what is not whole is refused with a sentence that says why. Service makes ISO volumes and
// streams files out of them.
//
// Section numbers are those of ECMA-119 (ISO 9660), of SUSP 1.12 and RRIP 1.12 (Rock Ridge), of the Joliet
// specification (1995), of El Torito 1.0, and of ECMA-167 (UDF).
package iso

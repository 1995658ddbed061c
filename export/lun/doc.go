// Package lun exports volumes over iSCSI: each volume is one logical unit, whoever it is exported to, and each client of
// a volume has a target of its own with that unit as LUN 0.
//
// The targets of a volume bear the names of export.Name and the port numbers of export.Record, so that both, and with
// them persistent reservations, outlive restarts. Reservations are kept in the volume's records, with the attachment that each
// registration came through: fencing an attachment preempts what it registered, and nothing of the others.
//
// # Copies
//
// EXTENDED COPY copies within a volume, and between volumes that are exported to one client with the same Record.Initiator, while that
// initiator is logged in to both. Each segment is read and written as commands of those two sessions would be: with their rights,
// reservations, rate limits and gates, and fencing either of them stops the copy and waits for it. Other volumes can't be reached, whoever
// asks: an initiator's name alone proves nothing, and the exports of a client that name no initiator may be for several machines, of which
// one must not reach what another has. Initiators read and write by themselves where a copy is refused.
package lun

// Package lun exports volumes over iSCSI: each volume is one logical unit, whoever it is exported to, and each client of
// a volume has a target of its own with that unit as LUN 0.
//
// The targets of a volume bear the names of export.Name and the port numbers of export.Record, so that both, and with
// them persistent reservations, outlive restarts. Reservations are kept in the volume's records, with the attachment that each
// registration came through: fencing an attachment preempts what it registered, and nothing of the others.
//
// EXTENDED COPY copies within a volume, and refuses other targets: a copy to another volume would be a write that the attachment to that
// one knows nothing of, and neither its gate nor its fencing would wait for it.
package lun

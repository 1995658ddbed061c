// Package iscsi is an iSCSI target (RFC 7143): portals, sessions, connections, task management, discovery, over
// the wire format of pdu, the negotiations of login and the commands of scsi.
//
// A Server has Targets, a Target has one scsi.LogicalUnit as LUN 0, and Attachments say who may log in to it. A
// session has one connection and runs at ErrorRecoveryLevel 0.
//
// One goroutine reads a connection and owns the order of its commands. What can be answered without waiting is
// answered there; the rest runs in workers, of which a session has a bounded number and only while there is
// work. Whoever has something to send sends all that there is, unless somebody is at it: answers gather while a
// write goes on, and leave together. What commands hold in memory is granted before it is taken, per session and
// in all.
//
// What was measured, with initiator and target on two processors: to sleep and be woken is the better part of a small
// command, so the reader looks for the next one for a moment before it sleeps (spins); the copies are that of a large
// read, so its data goes through a pipe of the kernel (splice), but for up to quickMost, where the copy is faster. Of no
// use were: one small buffer that stays in the processor's cache, buffers in huge pages, to send from a mapping of the
// file, and to wait for room in the socket in the reader's thread.
//
// Section numbers are those of RFC 7143 where no other document is named.
package iscsi

// Package scsi is the command set of a disk or a CD-ROM: SAM-5, SPC-4, SBC-3 and the part of MMC-6 that an ISO
// image needs, over a small Device. It knows no transport and does no I/O but the Device's.
//
// A LogicalUnit stands for one volume, however many targets it is reached through. Each initiator port that is
// logged in has a Nexus there, which holds what SAM-5 keeps for an I_T nexus: pending unit attentions, whether
// medium removal is prevented, what reservations let it do.
//
// A transport takes a Command through these steps:
//
//	plan := unit.Plan(&command.CDB) // how many bytes to fetch or to make room for; what medium range
//	unit.Admit(nexus, command)      // optional: false is a refusal, before any data is asked for
//	unit.Execute(ctx, nexus, command)
//	command.Status, command.Sense(), command.In[:command.Received], command.Residual()
//
// For a READ it may fetch the data by other means: after Admit it reads plan.Length bytes at plan.Offset
// itself, and then calls Finish with the error, if there was one. It owns each Command and reuses it: nothing
// is allocated for a READ or a WRITE.
//
// The transport does what belongs to the target as a whole: it finds the logical unit of a LUN (NoUnit answers
// for those that don't exist), orders tasks by their attribute (the control mode page says that every nexus
// has a task set of its own, in which SIMPLE commands may be reordered), aborts tasks by cancelling the
// context of Execute, and reports resets through Reset and Detach.
package scsi

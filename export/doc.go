// Package export says who may reach which volume, and how, and sees to it: across restarts, and against everybody
// else.
//
// An attachment is one client's right to one volume by one Kind. Service keeps the attachments of all volumes; a
// Kind, registered by cmd, makes volumes reachable over its protocol. Clients never talk to Service: they log in to
// what the Kind serves.
//
// # On disk
//
// In the volume's directory, and nowhere else:
//
//	.export/exports.json       the Book: the server that it is of, the epoch, the attachments with their secrets; gone with the
//	                           last of them
//	.export/<kind>.json        what a kind keeps of the volume, such as persistent reservations
//	.export/wish-<migration>.json, .export/answer-<migration>.json
//	                           what two servers say about a live migration between them (livemigration)
//	.export/.tmp-*             what a crash left of writing these
//	iqn.….<client xor volume>.exported
//	                           a Marker for everybody to see, one per client, touched every 5 s
//
// The Book is the truth, and is replaced whole. A Book is acted on only by the server whose id it bears. The epoch grows
// with every attachment, so that a server that lost a volume without noticing sees that its Book is not the current one.
//
// # Order of effects, and what a crash leaves
//
// Every change is made by Service.change: under the volume's lock it reads the Book, edits it, replaces it, and then
// brings what is served into agreement with it. Repeated, it finds nothing to do.
//
// To let somebody in: the volume is opened; the Book is replaced; the marker is written; the kind lets the attachment in;
// the call is answered. A crash before the Book leaves nothing. After it, the attachment stands again with the next
// start, whether or not its client had been told; the client asks again and gets the same secret. What fails after the
// Book was replaced puts the old one back; if that fails too, the attachment stands sooner or later.
//
// To shut somebody out (fencing): the Book is replaced; the kind ends the attachment's sessions and waits until none of
// their commands can reach the medium; its registrations are preempted (those of an attachment that waits to be
// let in, too), or with the last one of its kind forgotten; the
// claim on the volume ends, and with the last one the volume is closed; the marker goes. A crash after the Book leaves a
// marker that the next start removes, and registrations that are preempted before the kind lets anybody in to the volume
// again. What can't be proven in time stays as a fencing attachment: nobody gets in through it, and the volume is nobody
// else's until it is over: a change that would let in somebody new waits for that first, and is refused, with the Book as
// it was, where it is not proven in time.
//
// # Restart
//
// Service.Restore runs before the API opens: every Book of this server is read and all of its attachments let in again, with
// the secrets that they had, each on its own: one that can't be let in keeps nobody else out. What can't be restored now, since its pool is away or a child of the server before still holds
// the volume, is tried again by Service.Run, and refuses everybody else meanwhile, since the Book says so.
//
// # Kinds
//
// A Kind makes a Unit of a volume, and that an Attached of each attachment. What a kind has beyond that it says by further interfaces: a
// Mover keeps to the gates, and so can migrate; a Successor takes over what another attachment had reserved; a Forgetter frees what
// those had reserved who ended without standing; an Updater is told of the volume's attributes. Attachments to the image's own path
// (Record.Path) have no gate and no sessions of ours: they have the volume alone, and end when nobody has the image open (Image).
//
// # What keeps the volume
//
// A volume of which something stands is open, and volume refuses by its claims what can't be done meanwhile. One whose attachments are
// recorded and don't stand, as after a start whose pool is not there yet, is kept by Service.Recorded, which volume asks under the
// volume's lock (volume.Config.Exported). One that migrates is kept by livemigration (volume.Config.Held).
//
// # Live migration
//
// For its length two attachments of a volume that is for one client stand beside each other. Both Records name the migration, and what does
// stands with its Gate shut until the Pen, which is livemigration, says otherwise: when it is let in, when it wants to write, and
// after a restart. Admit makes the second one, Decide fences the one that loses. Until then both are refused to everybody else:
// no third attachment, no unexport.
//
// # Other servers
//
// Who has a volume open holds its lock, so two servers that see the same locks never serve one volume. Beyond that a marker that
// another server keeps fresh refuses an export with the name of that server. In a pool that several servers share,
// locks may be lost with the network: there each heartbeat reads the Book too, and a server whose last good heartbeat is 15 s
// ago (on the clock that runs while the machine sleeps) answers no request until it has one again. Taking over from a
// server that is gone needs the volume's lock, a marker that did not change for 45 s of our own clock, and the caller's word that
// the old host is off: requests that it sent to the storage can't be called back. There the volume is opened past the page cache
// (volume/file, cache.direct of QEMU), so that nothing of it is kept that another host doesn't know, or would be written later.
//
// # Lock order
//
//  1. Service.turns: one change per volume;
//  2. what volume.Service.Turn takes (see there);
//  3. Service.mu, for memory work only.
//
// Opened.Close waits for a volume.Turn, and so is never called inside of one. Kinds call back (Watch) while their own locks may
// be held: that takes Service.mu alone.
package export

// Package livemigration moves the volumes of a running machine from one host to another: for a while both may have them attached, at
// every moment exactly one of them may change them, and in the end one of them owns them.
//
// # States
//
//	STABLE(source) -prepare-> PREPARING -> PREPARED -conclude-> CONCLUDING -> STABLE(destination)
//	     ^                      |fail        |revert               fencing not proven: again, never back
//	     +------ REVERTING <----+------------+
//	no safe step left -> NEEDS_OPERATOR -resolve-> REVERTING or CONCLUDING
//
// A migration is one machine's set of volumes, all or nothing. From CONCLUDING on it only goes forward, from REVERTING on only back: a
// call the other way is refused, the same call again has the same answer. Status.Step is the table, and pure.
//
// # The pen
//
// While the set is PREPARED one side holds the pen: its commands that change a volume run, the other side's don't. It is one pen for
// the set, since a machine runs in one place. It is the source's until the destination sends its first such command, to any of the
// volumes; before that runs
//
//  1. the gates of the source are shut, and what had passed them has been done;
//  2. the journal says that the pen is the destination's, on stable storage;
//  3. what the source had reserved is the destination's;
//  4. the gates of the destination are opened.
//
// What fails in 1 leaves the pen where it was. What fails after that refuses the destination's command, and its next one tries again.
// A journal that could not be written, and may say either, leaves no side with the pen until it says one thing for certain.
//
// # Order of effects, and what a crash leaves
//
// Journal, effect, proof, answer. The journal is one file per migration in the server's state directory, replaced as a whole. Each volume's
// part is in its own export records: there both attachments name the migration until it is decided, so that after a restart neither gets
// an open gate before this package was asked.
//
// A server that starts takes back what was PREPARING; lets both sides in of what is PREPARED, with the pen where it was; and of what is
// CONCLUDING or REVERTING lets in the side that stays, and goes on fencing the other, which is not let in again. A journal that can't be
// read, or records that name a migration of which nothing is known, need an operator; nobody writes before that.
//
// # What is refused meanwhile
//
// volume asks Service.Held, under the volume's lock, before it resizes, converts, compacts, destroys or transfers a volume; export
// refuses other exports of it, and unexport, since its records name the migration. What else needs a volume that nobody uses its
// claims refuse. Held
// goes by the journal alone, so that it holds for volumes too that don't stand at the moment, or never will.
//
// # Time
//
// A set that is PREPARED has a deadline. When it has passed, a destination that never logged in is taken back; one that did is kept, and
// an event and the log say so. No timer ever concludes.
//
// # Two servers
//
// Where the server that exports the volumes and another one share their pool (`shared: true`), and their blocks are coherent between hosts,
// as those of raw images (opened past the page cache) and of RBD are, the destination may attach through the other server. qcow2 can't be
// moved so, since one process at a time may have such an image open. Prepare, and later conclude, are called at the destination's server;
// revert at either, as long as that has the pen. Each server has a journal of its own (Record.Here says for which side), and what they
// tell each other lies beside the volumes:
//
//   - the Book of each volume (export) is changed by who has the volume's lock and the pen, and by nobody else. It names the server that
//     lets an attachment in, and the one that has the pen;
//   - the Wish beside the first volume is written by the destination's server alone: to prepare, to have the pen, to take it back. It decides
//     nothing. The source's server looks for wishes with its heartbeat, and often while a migration is open. Each migration has a file of its
//     own for it, and so has the answer of a source's server that refuses: of two destinations that prepare one volume at once the first
//     that is found is let in, and the other one is told which that is, whoever of them was suspended meanwhile.
//
// The pen is the lock that excludes servers from each other: who has it holds the lock of every volume and has their images open for
// writing; the other side's server has no lock and has them open for reading (before it had the pen), or not at all (after it gave it away).
// On RBD the exclusive lock of the image is taken and released with it; that of a server that does not answer is not broken. The pen moves once, from the source to the destination:
//
//  1. the destination's server, whose machine wants to write, writes its Wish;
//  2. the source's server shuts its gates, waits for what had passed them, and flushes;
//  3. its journal says that the pen is the destination's: it never writes again but after 7;
//  4. the Book of each volume says so too, and the volume is let go: its sessions end, its image is closed, its lock is free;
//  5. the destination's server takes the lock of every volume, under it finds in the Book that the pen is its own, and opens the image for
//     writing. When it has all of them its journal says so, what the source had reserved becomes the destination's, and its gates open.
//     Its machine waited for that at its first write.
//
// Then whoever has the pen decides, by its journal, and carries it out in the Books:
//
//  6. conclude: the Book of each volume is that of the destination's server, with its attachment alone;
//  7. revert: the Book of each volume has the source's attachment alone. The destination's server does so after it has shut its gates and
//     waited, flushed, and let go of the volume, and with what the source had reserved: the source's server finds the Book as it was before,
//     and the lock free, and lets its clients in.
//
// Each of the steps is repeated until it is done. What a server does next follows from its journal, the Books and the Wish alone (sight.next,
// which is pure), and so is the same after a crash at any point:
//
//	before 3   the source writes on after its restart; the Wish stands, and the pen moves when that server is back
//	3 to 4     nobody writes before the source's server is back and has done 4 for all volumes
//	4 to 5     nobody writes before the destination's server is there and has done 5 for all volumes
//	after 5    the destination writes while its server runs, whether the source's does or not
//	6, 7       the server that decided goes on with it; the other one finds the Books, whenever it comes back
//
// No timer, no heartbeat and no silence gives the pen to anybody: while the server that has it is gone, the machine waits, and the pen moves
// when that server is back. A call that needs the pen, conclude, waits for 15 s and then fails; what it has asked for stands, after a restart
// too, is seen in the list (Info.PenAsked), and comes true though nobody waits for it any more. That is safe, since it decides nothing: the set
// stays PREPARED, the same call goes on where the first one was, and revert takes the wish back, at the latest by giving back what was passed
// meanwhile, which the destination has not written to before the revert was journalled. Beside the lock there is export's lease, for file systems that lose locks: a server that has not read its Book for
// 15 s answers nothing.
//
// # A server that never comes back
//
// A host that is off for good leaves volumes to be taken over (`takeover`, `old_host_is_off` of an export; on RBD the lock of a client that is
// dead for half a minute goes to whoever asks). The Book that this makes knows of no migration. A server that finds all volumes of a set taken
// over ends the migration, whichever server it is, and also when it comes back much later: nothing of it is its own any more. Where that was
// done to some of the volumes only, it needs an operator on each of the two servers: resolve frees those that this one still has. What was
// decided already goes on with the others.
//
// A server that has lost its journal, and not its id, makes the migration's record of the Books, and of the wish, and needs an operator. Said
// that the machine is the destination's, its server asks for the pen first where it hasn't got it; said that it is the source's, it gives back
// what it has, or takes its wish back. One that has lost its id is another server: what it was let in to is taken back at the source's as
// long as that has the pen, and taken over else.
//
// # Lock order
//
//  1. Service.turns: one call per migration, and one prepare at a time;
//  2. migration.pen: the record and its journal, and the moving of the pen;
//  3. Service.mu, for memory work only.
//
// Calls into export are made with the turn or the pen held: the gates of the attachments wait for commands inside to end, and those that
// wait at a gate wait for the pen only as long as their own context lasts.
package livemigration

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
// # One server
//
// A migration is that of the server which exports the volumes: the destination attaches through it too, wherever its host is. In a pool
// that several servers share, another one refuses to prepare what it does not export, and says where that is done. qcow2 can't
// be otherwise, since one process at a time may have such an image open. For raw images and RBD, whose block layer is coherent between
// hosts (volume/file opens the former past the page cache), it could. What that needs, and what is not here, is
//
//  1. a volume's lock that two servers have: whoever exports it holds it alone, and so do resize, convert and all else. There would be a
//     shared part for opening the image, and the whole for changing the Book;
//  2. the journal, with the pen, in the volume's own records, where both servers read it: this one is in the state of one;
//  3. a way to ask for the pen: the destination's server would write its wish beside the Book; the source's, with each heartbeat or when it
//     is woken, shut its gates, wait for what had passed them, flush the Device, and write that the pen is gone; only what is read back from
//     stable storage opens the other's gates. A machine would wait for that at its first write;
//  4. leases that say what a server does which can't read the journal: after 15 s it answers nothing (export's lease), and the other
//     side may not take the pen by itself before that server is known to be off, as for a takeover;
//  5. the registrations and the reservation, which the destination's server would read from the volume's records with the pen;
//  6. one replacement of the Book that makes the destination's server the one that acts on it: the commit of conclude.
//
// Until each of these is there, refusing loses nobody a write.
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

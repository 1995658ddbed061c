// Package samba exports volumes over SMB: each attachment is a share of its own, with a user, a password and one file, the
// volume's content.
//
// # What a client sees, and may do
//
// The share holds data.img, or data.iso for an ISO volume, and nothing else. Neither it nor anybody in smbd can reach the
// volume's directory: the file is shown by package fuse out of the volume's Device, which all other exports of the volume use
// too, and smbd runs where no pool is mounted. So the file is the disk that a machine sees, whatever the format of the image behind it.
//
// Like a block device it has a fixed size. It is read and written anywhere within it; making it longer or shorter, writing
// beyond its end, renaming and removing it, and making other files are refused. Truncating it to nothing, which programs do that replace
// a file, is answered as done and changes nothing. A flush that a client asks for reaches stable storage before it is answered; clients
// are given no leave to cache (no oplocks, leases or durable handles). Which of several clients opens the file
// at the same time is for SMB's share modes to say.
//
// # Where smbd lives
//
// The kind runs an smbd of its own, unless it is told to use the machine's, with the first attachment, as root, in a mount namespace and a process namespace of its own
// (cell). All of Samba's files, the users and the registry with the shares lie in the memory of that namespace. With the
// death of this process, however it comes, the kernel ends smbd and all of its children, and everything is gone; there is nothing to be
// found by the next server, and no other smbd of the machine is ever touched. An smbd that dies is started again, with the same
// shares and users. Users exist in that namespace alone, not on the host.
//
// # The machine's own smbd
//
// Where Config.System names the smb.conf of the machine's smbd, the shares are its instead, through Samba's registry, and the files are
// mounted where it sees them. smbd wants an account of the machine for each of its users, so each attachment has one, that nobody can log
// in with: no password, no shell, no home, a user id of a range that is nobody's, and the same after a restart.
//
// All that is ours bears System.Mark: shares in their comment, accounts in theirs. Nothing without it is ever changed, and a name that
// somebody else has is refused. Shares and accounts don't end with this process: the next one removes them all before it makes those that
// are to be (System.sweep), and none are left when it stops in order. What smbd has of clients' connections is not cut but for our shares.
//
// What only smb.conf's section [global] can say is asked of the operator: the registry's shares, SMB 2.1, signing, a standalone server,
// and where there are guests, what makes somebody one. Without that, and while smbd doesn't run or doesn't see the mount, requests are
// refused with the reason. Whom a share of the operator's own lets in who has any account with smbd, it lets in who has one of ours.
//
// # Guests
//
// Guests, who need no password, read ISO volumes that are not private, where the operator says so. When such a volume becomes
// private they lose what they have open, and all connections to the share are ended; those of its user come back.
//
// # Fencing
//
// Detach first takes the file back (fuse.Entry.Remove): when that has returned no request of anybody reaches the Device any more, whatever
// smbd does. Then user and share go, smbd is told to close the share, and Detach returns when smbd has let go of every
// opening of the file.
package samba

// Package pool finds the pools below a root directory, keeps to their limits, and chooses where volumes go.
//
// A directory is a pool if it holds a settings.json, and is the root or lies one or two levels below it, and no
// directory above it holds one. A Set watches the root: pools come and go while it runs, and settings that
// change take effect. A pool that can't be used is not valid, for a reason that Infos tells, and is tried
// again with every look; it never keeps the others from working. To unmount a pool, rename its settings.json
// first: then the server lets go of it.
//
// # Room
//
// Set.Reserve checks the limits and takes the room in one critical section, in memory. How much there is of
// a file system's real free space is asked before, outside of it, so that one that doesn't answer delays
// nobody else; what ends between the two counts as still being written, which errs on the safe side.
//
// # One server or several
//
// A server holds the flock on a pool's .elstore-lock for as long as it uses the pool, and what it counts in
// memory is the truth. Another server sees the pool as held, and takes it when the lock is free.
//
// In a pool with "shared": true the lock is taken for a moment around every change of .elstore-ledger. Its
// content is what the directory held when it was last counted, and for every server what that one has made
// and reserved since. Each writes only its own part, whole, from its memory. A server that uses the pool holds
// another flock, on .elstore-server-<key>: where that is free the server is gone, and the others add
// what it made to the count and drop what it had reserved. The count is replaced by what is in the directory when
// a server comes and no other is there, or when nothing changed while it counted.
//
// Nothing is counted twice: what a server reserved and keeps moves from one number of its part to another in one
// write, and what it finds that others made (Observe) is not in its part. Should a server die between putting
// a volume in its place and saying so, the others see the volume by themselves: the larger of what the ledger
// says and what the server sees counts.
//
// # Lock order
//
// Set.looking or Set.emptying, then shared.turn and with it the flock of one shared pool after the other in the
// order of their names, given up after lockPatience, then Set.mu, which is held for memory work only.
package pool

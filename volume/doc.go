// Package volume keeps volumes: disks of virtual machines, each with its attributes (Meta), its content
// (a Device) and its place (a directory in a pool, kept by a Backend).
//
// Service is the life cycle: create, update, resize, convert, clone, import, upload, download, trash and
// restore. It holds the index of all volumes of all pools in memory; the truth is on disk, and a Service that
// starts on the same pools knows all that the last one knew. It asks Pools for room before it makes
// anything, and Backend does the work on the storage. It never imports a pool, a backend or an export:
// cmd joins them.
//
// # Lock order
//
// An operation takes, in this order, and never the other way round:
//
//  1. the volume's key in Service.locks (one operation at a time per volume and process). An operation on
//     two volumes (clone) takes the source's only: the new volume's id is nobody else's yet;
//  2. the volume's lock between processes, Backend.Lock (a flock that children inherit);
//  3. room in a pool, Pools.Reserve (its critical section is inside; nothing is held on return but numbers);
//  4. Service.mu, for the index, held for memory work only: never across a system call;
//  5. the gate of an opened volume, to hold its requests back for a moment. A Device may hold requests back by itself
//     while its Backend works on the open image (Held.Resize): that is inside of everything else, and over when the
//     call returns.
//
// # What a crash leaves
//
// Every change has one moment at which it counts, a rename or the replacement of meta.json, and what was
// done before that moment is swept at the next start (Backend.Scan). A call is answered after that moment
// and after fsync, so what was acknowledged is there.
package volume

// Package nbd is the server's side of the NBD protocol, as its specification has it (doc/proto.md of the
// NetworkBlockDevice project): the fixed newstyle handshake and simple replies, over any connection.
//
// A connection is served by Serve, which reads its requests in order, runs several at a time, and returns when none of
// them can reach the medium any more.
package nbd

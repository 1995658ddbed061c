// Package nbd is the server's side of the NBD protocol, as its specification has it (doc/proto.md of the
// NetworkBlockDevice project): the fixed newstyle handshake and simple replies, over any connection.
//
// A connection is served by Serve, which reads its requests in order, runs several at a time, and returns when none of
// them can reach the medium any more.
//
// # A client that comes again
//
// A client whose connection breaks makes again, on another one, what it has no answer to, and the first connection's requests must not come
// after that. Where an export has one connection at a time the next one begins when Serve has returned. Where it has several, what has not
// begun when the connection is found broken is not made, and what is at the device holds up what overlaps it on other connections (Order).
// What that leaves is a connection with over 16 requests at a device that hangs: those that the server has not read yet it can't tell from
// new ones before it finds the connection's end behind them. Nothing of that reaches beyond an attachment: all of its connections have one
// Gate, and its end is proven when all of them have ended.
package nbd

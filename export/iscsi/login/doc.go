// Package login is the login phase of an iSCSI target (RFC 7143 sections 6.2 and 6.3): who logs in, whether it
// is who it says, and with which parameters the session runs; and the text negotiation that may follow in the
// full feature phase (section 6.4).
//
// Both are state machines without I/O and without a clock. A Login takes the requests of one connection, one
// at a time, and says what to send and what to do next; chance and what is known of targets and secrets come
// from its Config. Deadlines are its user's, the number of rounds and the bytes of text are limited here.
//
// Section numbers are those of RFC 7143 where no other document is named.
package login

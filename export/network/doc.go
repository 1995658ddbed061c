// Package network is the export kind nbd: it exports volumes over NBD, to other hosts over TCP with TLS, and to this one on a unix
// socket too.
//
// # Who gets in
//
// Each attachment has a key and a certificate of its own, which the answer to its client has and nothing else: whoever holds the key is
// let in to that volume, and to no other. The certificate is signed by this server's own authority, whose secret is Config.Secret,
// and so is the server's, by which clients know it. Both sides have to prove themselves, in TLS 1.3 and nothing older; without TLS nobody
// learns a name. Nothing outlives an attachment: a server knows a key only while its attachment stands, whatever certificates are about,
// and sessions are not resumed.
//
// This is QEMU's tls-creds-x509 and not its tls-creds-psk: Go's crypto/tls has no pre-shared keys but those of resumption, and
// packages that add them are copies of it that nobody keeps. It gives the same, a secret per export that can be
// revoked; what differs is that a client keeps three files and not one. Keys and certificates are made from the
// attachment's secret and the server's, so that the same call has the same answer.
//
// The unix socket is for this server's user, and root, and has no TLS.
package network

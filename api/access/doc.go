// Package access says who a caller is: by a token of ours, a client certificate or another authority's token (see
// Verifier), and how often it may ask.
//
// A token of ours is 256 random bits behind an id. The store keeps the SHA-256 of the secret alone: a slow hash defends
// secrets that people choose, and nobody searches 2^256 of them, so it would only make every request dear. Secrets are
// compared in constant time. The store lies in the server's state directory and belongs to whoever holds that
// directory's lock: a running server, which is asked through its API, or the command line while no server runs.
//
// What a caller may do is the business of package api (which routes) and of the handlers (which volumes).
package access

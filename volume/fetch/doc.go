// Package fetch downloads images from URLs that strangers name.
//
// It promises that no URL, redirect or DNS answer makes it talk to an address inside the operator's network
// (loopback, private, link-local and the like), unless the configuration allows that network: the check is made
// on the address of every connection, after DNS. It speaks http and https only, verifies TLS, uses no proxy and
// no cookies, and never waits or writes without bound. A broken download goes on where it stopped if the server
// proves that the content is still the same.
//
// Error messages name a URL without its user, password, query and fragment.
package fetch

// Package session keeps who is connected to an attachment that is served over NBD, for the kinds that do that: it lets in as many as
// the volume allows, counts what they do, delays it to the attachment's rates, and ends them all.
package session

// Package interop has strangers talk to the real program: the test suite of libiscsi, the initiator of QEMU, and one
// of our own that knows nothing but the wire format. What they are told is killed while they do.
package interop

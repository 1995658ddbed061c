//go:build race

package qemu

// dropped is how many objects of a request's the race detector makes pools forget at most, which they do at random then.
const dropped = 3

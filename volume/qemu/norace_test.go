//go:build !race

package qemu

// dropped is how many objects of a request's pools forget.
const dropped = 0

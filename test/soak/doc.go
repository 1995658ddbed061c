// Package soak runs a server under a mixed load and looks whether it keeps what it should give back: memory, goroutines, file
// descriptors, processes. `make soak` does it for an hour, a plain test for seconds.
package soak

// Package arch holds the source tree to its design: who may import whom, which folders there are, and a few
// habits that a reader can't see at a glance. The tables in table.go are that design.
//
// It parses every Go file itself, whatever its build tags. A test that asked `go list` would pass from the
// test cache, and would not see the files that this machine does not build.
package arch

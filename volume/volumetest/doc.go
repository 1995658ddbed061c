// Package volumetest is the suite that every volume.Backend passes.
//
// Run holds a Backend to the sentences in volume/backend.go and volume/device.go: what each method promises, how
// it fails, who may call it at the same time, what another process sees.
//
// Faults makes things go wrong. A Backend that is opened for a test asks a hook before each change of its storage.
// The nth step fails, for n = 0, 1, 2… until the operation passes, and each time all or nothing must have happened;
// then the nth step and all that follow fail, as where the storage goes away for a while; and again, with the process
// gone too, which leaves on the storage what kill -9 at that moment leaves, and a new Backend's Scan must make all or
// nothing of it, even where it is itself cut off.
//
// Failing does the same one storey higher: it wraps a Backend whose nth method call fails, for tests of what
// stands on it.
package volumetest

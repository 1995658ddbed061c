package qemu

import (
	"os"
	"testing"
)

// inspectFile inspects a file that must pass.
func inspectFile(t testing.TB, path string, o InspectOptions) Inspection {
	t.Helper()
	in, err := tryInspect(t, path, o)
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	return in
}

func tryInspect(t testing.TB, path string, o InspectOptions) (Inspection, error) {
	t.Helper()
	f, err := os.Open(path) //nolint:gosec // a file of the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Inspect(f, st.Size(), o)
}

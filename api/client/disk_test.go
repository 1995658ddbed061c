package client_test

import (
	"os"
	"syscall"
	"testing"
)

// onDisk returns how many bytes of storage a file takes.
func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

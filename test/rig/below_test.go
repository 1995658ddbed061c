package rig

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestBelow(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]bool{"cat": true, "ca*": true, "ca": false, "dog": false} {
		if got := Below(t, os.Getpid(), pattern); slices.Contains(got, cmd.Process.Pid) != want {
			t.Errorf("%s finds %v; %d is named cat", pattern, got, cmd.Process.Pid)
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := Below(t, os.Getpid(), "cat"); len(got) > 0 {
		t.Errorf("%v live still", got)
	}
}

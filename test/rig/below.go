package rig

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Below returns the live processes below a process whose names, and those of all between, match a pattern of
// path.Match, the first of each tree first. The kernel keeps 15 bytes of a name.
func Below(t testing.TB, above int, pattern string) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (comm) state ppid
		head, rest, _ := bytes.Cut(data, []byte(") "))
		_, name, _ := strings.Cut(string(head), "(")
		fields := strings.Fields(string(rest))
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(above) {
			continue
		}
		matches, err := path.Match(pattern, name)
		if err != nil {
			t.Fatal(err)
		}
		if !matches {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(append(pids, pid), Below(t, pid, pattern)...)
	}
	return pids
}

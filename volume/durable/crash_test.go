package durable

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// record is what the killed process writes: its number, and as many bytes of padding as the number asks for.
type record struct {
	Number  int
	Padding string
}

func padding(number int) string { return strings.Repeat("p", number*7919%20000) }

// writeForEver replaces one file again and again, and says the number of each record once it is written.
func writeForEver(root *os.Root) error {
	for n := 1; ; n++ {
		data, err := json.Marshal(record{n, padding(n)})
		if err != nil {
			return err
		}
		if err := WriteFile(root, "record", data, 0o600); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

func TestKilledWriterLeavesAWholeFile(t *testing.T) {
	for range 20 {
		root, dir := open(t)
		acknowledged := killWriter(t, dir, 1+rand.IntN(30))
		data, err := root.ReadFile("record")
		if err != nil {
			t.Fatal(err)
		}
		var got record
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("after %d records the file is torn: %v", acknowledged, err)
		}
		if got.Padding != padding(got.Number) {
			t.Errorf("record %d has %d bytes of padding, want %d", got.Number, len(got.Padding), len(padding(got.Number)))
		}
		if got.Number < acknowledged {
			t.Errorf("record %d was acknowledged and the file holds record %d", acknowledged, got.Number)
		}
		wantOnlyTempBeside(t, root, "record")
	}
}

// killWriter runs a writer in dir, kills it with SIGKILL after n acknowledged records, wherever it is then,
// and returns the number of the last record that it acknowledged.
func killWriter(t *testing.T, dir string, n int) int {
	t.Helper()
	cmd := child(t, "write for ever", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			t.Errorf("the writer says %q: %v", lines.Text(), err)
		}
		if last == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || last < n {
		t.Fatalf("the writer ended by itself after %d records: %v", last, err)
	}
	return last
}

// wantOnlyTempBeside fails if root holds anything but name and what TempPrefix tells apart as a crash's.
func wantOnlyTempBeside(t *testing.T, root *os.Root, name string) {
	t.Helper()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name && !strings.HasPrefix(e.Name(), TempPrefix) {
			t.Errorf("the crash left %s, which nobody can tell from a file that counts", e.Name())
		}
	}
}

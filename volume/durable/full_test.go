package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"elstore/volume/fault"
)

// writeTooMuch writes the files old and new under the limit of its second argument: the kernel refuses every
// byte past it with EFBIG, in the middle of the write. It prints the code of each error. The limit holds for
// the whole process, which is why this is a child's work.
func writeTooMuch(root *os.Root) error {
	limit, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // sent with the error, and deadly
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	for _, name := range []string{"old", "new"} {
		err := WriteFile(root, name, make([]byte, tooMuch), 0o640)
		if !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("%s: %w, want %w", name, err, syscall.EFBIG)
		}
		fmt.Println(fault.CodeOf(err))
	}
	return nil
}

const tooMuch = 1 << 16

func TestAFailingWriteLeavesTheOldFile(t *testing.T) {
	tests := []struct {
		name  string
		limit int
	}{
		{"at the first byte", 0},
		{"in the middle", 4096},
		{"at the last byte", tooMuch - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, dir := open(t)
			mustWrite(t, root, "old", "old content")
			out, err := child(t, "write too much", dir, strconv.Itoa(tt.limit)).Output()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(out), "PoolFull\nPoolFull\n"; got != want {
				t.Errorf("codes %q, want %q", got, want)
			}
			wantContent(t, root, "old", "old content")
			if _, err := root.Stat("new"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file that could not be written is there: %v", err)
			}
			wantNoTemp(t, root)
		})
	}
}

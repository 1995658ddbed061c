package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal: its keyboard-and-screen side, and the side that a program is given.
func terminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// TestConfirm: what is for good is asked about on a terminal, and only there.
func TestConfirm(t *testing.T) {
	tests := []struct {
		args, types string
		done        bool
	}{
		{"volume destroy " + webID + " --purge", "y\n", true},
		{"volume destroy " + webID + " --purge", "YES\n", true},
		{"volume destroy " + webID + " --purge", "n\n", false},
		{"volume destroy " + webID + " --purge", "\n", false},
		{"volume destroy " + webID + " --purge", "yesterday\n", false},
		{"volume destroy " + webID + " --purge", "\x04", false}, // end of file
		{"volume destroy " + webID + " --purge --yes", "", true},
		{"volume destroy " + webID, "", true},
		{"trash empty", "y\n", true},
		{"trash empty --pool fast", "n\n", false},
		{"trash empty --yes", "", true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %q", tt.args, tt.types), func(t *testing.T) {
			s := newScript(t, map[string][]reply{"POST /destroy": {ok(`{}`)}, "POST /trash/empty": {ok(`{"purged":2}`)}})
			user, program := terminal(t)
			if _, err := user.WriteString(tt.types); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), strings.Fields(tt.args), program, &stdout, &stderr)
			if asked := strings.Contains(stderr.String(), "for good? [y/N]"); asked != (tt.types != "") {
				t.Errorf("said %q", stderr.String())
			}
			if done := len(s.asked) > 0; done != tt.done || (code == exitOK) != tt.done {
				t.Errorf("code %d after %q, said %q", code, s.asked, stderr.String())
			}
			if !tt.done && !strings.Contains(stderr.String(), "nothing was done") {
				t.Errorf("said %q", stderr.String())
			}
		})
	}
}

// TestProgress: a terminal sees how far the work is, unless it is to be quiet.
func TestProgress(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiet %t", quiet), func(t *testing.T) {
			newScript(t, map[string][]reply{"GET /jobs/" + jobID: {ok(runningJob), ok(runningJob), ok(doneJob(made))}})
			user, program := terminal(t)
			args := []string{"job", "wait", jobID, fmt.Sprintf("--quiet=%t", quiet)}
			var stdout bytes.Buffer
			if code := run(t.Context(), args, strings.NewReader(""), &stdout, program); code != exitOK {
				t.Errorf("code %d", code)
			}
			if _, err := program.WriteString("END"); err != nil {
				t.Fatal(err)
			}
			var shown []byte
			for buf := make([]byte, 4096); !bytes.Contains(shown, []byte("END")); {
				n, err := user.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				shown = append(shown, buf[:n]...)
			}
			if got := strings.Contains(string(shown), "25%") && strings.Contains(string(shown), jobID); got == quiet {
				t.Errorf("shown %q", shown)
			}
			if strings.Contains(stdout.String(), "%") {
				t.Errorf("printed %q", stdout.String())
			}
		})
	}
}

func TestNoImageOnATerminal(t *testing.T) {
	s := newScript(t, nil)
	_, program := terminal(t)
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"volume", "download", webID, "-"}, strings.NewReader(""), program, &stderr); code != exitUsage || len(s.asked) > 0 {
		t.Errorf("code %d after %q, said %q", code, s.asked, stderr.String())
	}
}

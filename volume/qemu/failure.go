package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode"

	"elstore/volume/fault"
)

// signs are what qemu-img prints, in English, when it fails for a reason that the caller can do something about.
// It ends with 1 whatever the reason: there is nothing else to tell them by. The first that fits counts. An
// "Input/output error" is not among them: QEMU says so of a failing disk and of a damaged image alike.
var signs = []struct {
	text string
	code fault.Code
}{
	{"No space left on device", fault.PoolFull},
	{"Disk quota exceeded", fault.PoolFull},
	{"File too large", fault.PoolFull},
	{"Read-only file system", fault.PoolUnavailable},
	{"Stale file handle", fault.PoolUnavailable},
	{"Structure needs cleaning", fault.PoolUnavailable},
	{"Transport endpoint is not connected", fault.PoolUnavailable},
	{`Failed to get "`, fault.VolumeInUse}, // …"write" lock
	{`Failed to get shared "`, fault.VolumeInUse},
	{"Failed to lock byte", fault.VolumeInUse},
	{"Use the --shrink option", fault.VolumeDimensionNotShrinkable},
}

// failure makes the error of a run of c that failed by itself: stderr is what it printed, err what waiting for it
// said.
func failure(c command, stderr string, err error, state *os.ProcessState) error {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		what := "was ended by the signal " + status.Signal().String()
		if status.Signal() == syscall.SIGXCPU {
			what = "used up its processor time and was stopped"
		}
		return &fault.Error{
			Code: fault.ImageToolFailed, Msg: fmt.Sprintf("qemu-img %s %s", c.name, what),
			Err: cause(err, stderr),
		}
	}
	code := fault.ImageToolFailed
	for _, sign := range signs {
		if strings.Contains(stderr, sign.text) {
			code = sign.code
			break
		}
	}
	return &fault.Error{Code: code, Msg: fmt.Sprintf("qemu-img %s failed: %s", c.name, said(stderr, c.images)), Err: cause(err, stderr)}
}

// cause is for the log: everything that was printed.
func cause(err error, stderr string) error {
	if stderr = strings.TrimSpace(stderr); stderr != "" {
		return fmt.Errorf("%w: %q", err, stderr)
	}
	return err
}

// maxSaid is the number of bytes of qemu-img's own words that go into a sentence.
const maxSaid = 300

// directories matches the directories of absolute paths, those of other files than the ones it was given.
var directories = regexp.MustCompile(`(^|[\s'"(\[=:,])/(?:[^\s'"/]+/)*`)

// said returns the line of stderr that says why, fit for a caller: without directories, for where volumes lie is
// not the caller's to know, and without anything unprintable.
func said(stderr string, images []Image) string {
	for _, i := range images {
		stderr = strings.ReplaceAll(stderr, filepath.Dir(i.Path)+"/", "")
	}
	why := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		rest, ours := strings.CutPrefix(line, "qemu-img: ")
		if ours && !strings.HasPrefix(rest, "warning:") {
			why = rest
			break
		}
		if why == "" {
			why = rest
		}
	}
	why = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, why)
	why = strings.TrimSpace(directories.ReplaceAllString(why, "$1"))
	switch {
	case why == "":
		return "it did not say why"
	case len(why) > maxSaid:
		return strings.ToValidUTF8(why[:maxSaid], "") + "…"
	}
	return why
}

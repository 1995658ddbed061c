package qemu

import (
	"context"
	"os"

	"elstore/volume/fault"
)

// CheckResult is what Check found.
type CheckResult struct {
	Unchecked   bool  // the format has nothing that could be checked (raw)
	Corruptions int64 // inconsistencies that may make it lose data
	Leaks       int64 // clusters that are taken and not used
	Errors      int64 // places that could not be checked
	LeaksFixed  int64 // leaks that are repaired now, and not counted in Leaks
	EndOffset   int64 // where the last used cluster ends in the file, in bytes; 0 where the format doesn't say
}

// OK reports whether nothing is wrong but perhaps leaks, which cost room and no data.
func (r CheckResult) OK() bool { return r.Corruptions == 0 && r.Errors == 0 }

// The exit codes of qemu-img check that are answers.
const (
	checkCorrupt     = 2
	checkLeaks       = 3
	checkUnsupported = 63
)

// Check looks for inconsistencies in an image, and with repairLeaks gives leaked clusters free where nothing else is
// wrong: then it is safe. What it finds is in the result and is no error. The image must not be open elsewhere.
func (t *Tool) Check(ctx context.Context, img Image, repairLeaks bool, inherit ...*os.File) (CheckResult, error) {
	if err := img.checkFile(); err != nil {
		return CheckResult{}, err
	}
	found, err := t.check(ctx, img, inherit)
	if err != nil || !repairLeaks || found.Leaks == 0 || !found.OK() {
		return found, err
	}
	repaired, err := t.check(ctx, img, inherit, "-r", "leaks")
	if err != nil {
		return found, err
	}
	return repaired, syncFile(img.Path)
}

func (t *Tool) check(ctx context.Context, img Image, inherit []*os.File, options ...string) (CheckResult, error) {
	r, err := t.run(ctx, command{
		name: "check", args: append(options, "--output=json", "-f", string(img.Format), "--", img.Path),
		limits: limits{addressSpace: addressSpace(0) + countersOf(img), cpu: t.cpu},
		target: repaired(img, options), images: []Image{img}, inherit: inherit, answers: []int{checkCorrupt, checkLeaks, checkUnsupported},
	})
	switch {
	case err != nil:
		return CheckResult{}, err
	case r.code == checkUnsupported:
		return CheckResult{Unchecked: true}, nil
	}
	return parseCheck(r.output)
}

// countersOf returns the bytes that qemu-img needs for the counters of an image's clusters. An image that can't
// be read gets none: then qemu-img says why.
func countersOf(img Image) uint64 {
	if img.Format != QCOW2 {
		return 0
	}
	f, err := os.Open(img.Path)
	if err != nil {
		return 0
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	h, err := Header(f)
	if err != nil {
		return 0
	}
	return checkSpace(st.Size(), h.ClusterBits, h.RefcountOrder)
}

// parseCheck reads the answer of qemu-img check --output=json.
func parseCheck(output []byte) (CheckResult, error) {
	var a struct {
		Corruptions int64 `json:"corruptions"`
		Leaks       int64 `json:"leaks"`
		Errors      int64 `json:"check-errors"`
		LeaksFixed  int64 `json:"leaks-fixed"`
		EndOffset   int64 `json:"image-end-offset"`
	}
	if err := answer("check", output, &a); err != nil {
		return CheckResult{}, err
	}
	if a.Corruptions < 0 || a.Leaks < 0 || a.Errors < 0 {
		return CheckResult{}, fault.Errorf(fault.ImageToolFailed, "the answer of qemu-img check has negative counts")
	}
	return CheckResult{
		Corruptions: a.Corruptions, Leaks: a.Leaks, Errors: a.Errors,
		LeaksFixed: a.LeaksFixed, EndOffset: a.EndOffset,
	}, nil
}

// repaired is the file that a check with such options writes, or "".
func repaired(img Image, options []string) string {
	if len(options) == 0 {
		return ""
	}
	return img.Path
}

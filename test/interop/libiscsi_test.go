package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// The suite that Debian 12 has (1.19.0), and how much of it somebody must pass.
const (
	suiteTests  = 230
	suitePasses = 209
	suiteSize   = 1 << 30 // some tests go beyond what smaller disks have
)

// suiteLUNs are the disks that the suite is run against.
var suiteLUNs = []struct {
	name  string
	flags []string
}{
	{"thin", []string{"--thin"}},
	{"thick", []string{"--thick"}},
	{"readonly", []string{"--readonly"}},
	{"removable", []string{"--removable"}},
}

// neverPasses says why tests pass nowhere, by what their names begin with.
var neverPasses = map[string]string{
	"SCSI.Sanitize.":                     "SANITIZE is not offered: no file can promise that nothing is left of what it held",
	"SCSI.WriteAtomic16.":                "WRITE ATOMIC is not offered: a page cache writes no more than a page in one piece",
	"SCSI.NoMedia.NoMediaSBC":            "the removable disk knows no UNMAP, which the test then leaves out; all else of it passes",
	"iSCSI.iSCSITMF.LUNResetSimpleAsync": "the test asserts the answer before it sends its request; libiscsi corrected that in 5553d6b, after 1.19",
}

// needData are the tests that need -d, which allows to write, on a disk that can't be written: those of what can be
// changed there all the same. Without it their own steps are left out, and they fail.
var needData = regexp.MustCompile(`^SCSI\.(ReadOnly|Prin.*|Prout.*)\.`)

// mustWrite are the tests that write and assert success, without or with -d: on a disk that can't be written they say
// nothing.
var mustWrite = regexp.MustCompile(`^SCSI\.(ProutReserve\.Access.*|WriteVerify\d+\.Dpo)$`)

// outcome of a test.
const (
	writes  = "writes" // it is not run, see mustWrite
	passes  = "pass"
	skips   = "skip"
	failed  = "FAIL"
	hangs   = "HANG"
	crashed = "CRASH"
)

// TestLibiscsiSuite runs every test of iscsi-test-cu alone against disks of every kind. What comes of each stands in
// testdata/libiscsi.golden.
func TestLibiscsiSuite(t *testing.T) {
	need.Program(t, "iscsi-test-cu")
	listed, err := run(t, "iscsi-test-cu", "-l")
	if err != nil {
		t.Fatalf("%v: %s", err, listed)
	}
	var names []string
	for name := range strings.FieldsSeq(listed) {
		if strings.Count(name, ".") == 2 && (strings.HasPrefix(name, "SCSI.") || strings.HasPrefix(name, "iSCSI.")) {
			names = append(names, name)
		}
	}
	if len(names) != suiteTests {
		t.Fatalf("iscsi-test-cu has %d tests of SCSI and iSCSI, not %d: it is not that of libiscsi 1.19", len(names), suiteTests)
	}
	results := make([]map[string]string, len(suiteLUNs))
	var wg sync.WaitGroup // the tests mostly sleep, so that the disks can do with few processors
	for i, lun := range suiteLUNs {
		target := rig.StartTarget(t, append([]string{"--image", sparse(t, suiteSize)}, lun.flags...)...)
		results[i] = map[string]string{}
		wg.Go(func() {
			for _, name := range names {
				outcome, output := suiteTest(t, target.URL, name, lun.name == "readonly")
				results[i][name] = outcome
				switch outcome {
				case failed, hangs, crashed:
					t.Errorf("%s: %s on the %s disk\n%s", outcome, name, lun.name, output)
				}
			}
			if err := target.Stop(); err != nil {
				t.Errorf("the target of the %s disk: %v\n%s", lun.name, err, target.Log())
			}
		})
	}
	wg.Wait()
	if !t.Failed() {
		suiteGolden(t, names, results)
	}
}

// Patterns in what iscsi-test-cu prints.
var (
	suiteSummary = regexp.MustCompile(`\n\s+tests\s+1\s+1\s+[01]\s+([01])\s`) // total, ran, passed, failed
	suiteSkipped = regexp.MustCompile(`\[SKIPPED\][^\n]*`)
)

// suiteTest runs one test.
func suiteTest(t *testing.T, url, name string, readonly bool) (outcome, output string) {
	args := []string{"-V", "-t", name}
	switch {
	case readonly && mustWrite.MatchString(name):
		return writes, ""
	case readonly && !needData.MatchString(name): // else those that write would fail; so they are skipped
	case name == "iSCSI.iSCSITMF.LUNResetSimpleAsync": // see neverPasses
	default:
		args = append(args, "-d")
	}
	args = append(args, url)
	if strings.HasPrefix(name, "SCSI.MultipathIO.") {
		args = append(args, url)
	}
	output, err := run(t, "iscsi-test-cu", args...)
	found := suiteSummary.FindStringSubmatch(output)
	switch {
	case err != nil && strings.Contains(err.Error(), "killed"):
		return hangs, output
	case found == nil:
		return crashed, output
	}
	_, body, _ := strings.Cut(output, "  Test: ") // before it stands what is asked of every disk
	if found[1] != "0" {
		return failed, output
	}
	for _, line := range suiteSkipped.FindAllString(body, -1) {
		// Where an optional opcode is looked up in REPORT SUPPORTED OPCODES and is not there, the test goes on without.
		if !strings.Contains(line, "REPORT_SUPPORTED_OPCODES") || strings.Contains(name, ".ReportSupportedOpcodes.") {
			return skips, output
		}
	}
	return passes, output
}

// suiteGolden compares with the list of what is expected.
func suiteGolden(t *testing.T, names []string, results []map[string]string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-52s", "# test")
	for _, lun := range suiteLUNs {
		fmt.Fprintf(&b, "%-10s", lun.name)
	}
	b.WriteString("why it never passes\n")
	passed := 0
	for _, name := range names {
		fields := []string{fmt.Sprintf("%-52s", name)}
		somewhere := false
		for i := range suiteLUNs {
			fields = append(fields, fmt.Sprintf("%-10s", results[i][name]))
			somewhere = somewhere || results[i][name] == passes
		}
		if somewhere {
			passed++
		} else {
			fields = append(fields, whyNever(t, name))
		}
		b.WriteString(strings.TrimRight(strings.Join(fields, ""), " ") + "\n")
	}
	fmt.Fprintf(&b, "# %d of %d pass somewhere\n", passed, len(names))
	if passed < suitePasses {
		t.Errorf("%d tests pass somewhere, want %d", passed, suitePasses)
	}
	path := filepath.Join("testdata", "libiscsi.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s differs; -update writes it anew. Got:\n%s", path, b.String())
	}
}

// whyNever says why a test passes nowhere.
func whyNever(t *testing.T, name string) string {
	t.Helper()
	for prefix, reason := range neverPasses {
		if strings.HasPrefix(name, prefix) {
			return reason
		}
	}
	t.Errorf("%s passes nowhere, and nobody knows why", name)
	return ""
}

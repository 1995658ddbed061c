package iscsi

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"elstore/export/iscsi/login"
	"elstore/test/need"
)

// listen serves the stage on TCP and returns the URL of its LUN.
func (s *stage) listen(network, address string) (portal, url string) {
	s.t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(s.t.Context(), network, address)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(l) }()
	s.t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			s.t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			s.t.Errorf("Serve returned %v", err)
		}
	})
	portal = l.Addr().String()
	return portal, "iscsi://" + portal + "/" + string(targetName) + "/0"
}

// run runs a program and returns what it prints.
func run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}

func TestLibiscsiTools(t *testing.T) {
	need.Program(t, "iscsi-ls", "iscsi-inq", "iscsi-readcapacity16")
	s := newStage(t)
	s.attach(AttachmentConfig{Shared: true})
	s.attach(AttachmentConfig{CHAPName: "vm-1", Secret: login.NewSecret("correct_horse_battery")})
	portal, url := s.listen("tcp", "127.0.0.1:0")
	withCHAP := strings.Replace(url, "iscsi://", "iscsi://vm-1%correct_horse_battery@", 1)
	withWrong := strings.Replace(url, "iscsi://", "iscsi://vm-1%wrong@", 1)
	digests := url + "?header_digest=crc32c"
	for _, c := range []struct {
		name    string
		command []string
		want    string
		fails   bool
	}{
		{"discovery", []string{"iscsi-ls", "-s", "iscsi://" + portal}, "Target:" + string(targetName) + " Portal:" + portal + ",1", false},
		{"inquiry", []string{"iscsi-inq", url}, "Vendor:ELSTORE", false},
		{"capacity", []string{"iscsi-readcapacity16", url}, "Total size:4194304", false},
		{"header digest", []string{"iscsi-readcapacity16", digests}, "Total size:4194304", false},
		{"CHAP", []string{"iscsi-inq", withCHAP}, "Vendor:ELSTORE", false},
		{"a wrong secret", []string{"iscsi-inq", withWrong}, "Authentication failure", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := run(t, c.command[0], c.command[1:]...)
			if (err != nil) != c.fails || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestLibiscsiSuite runs the tests of iscsi-test-cu that are about iSCSI itself. The whole suite is run against
// the program, with LUNs of every kind.
func TestLibiscsiSuite(t *testing.T) {
	need.Program(t, "iscsi-test-cu")
	passed := regexp.MustCompile(`\stests\s+[1-9]\d*\s+[1-9]\d*\s+[1-9]\d*\s+0\s`) // total, ran, passed, failed
	for _, name := range []string{
		"iSCSI.iSCSIcmdsn", "iSCSI.iSCSIdatasn", "iSCSI.iSCSIResiduals", "iSCSI.iSCSITMF.AbortTaskSimpleAsync",
		"SCSI.Read10", "SCSI.Write10", "SCSI.WriteVerify16", "SCSI.Unmap", "SCSI.ProutPreempt",
		"SCSI.MultipathIO", // with the LUN twice
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some sleep
			s := newStage(t)
			s.attach(AttachmentConfig{Shared: true})
			_, url := s.listen("tcp", "127.0.0.1:0")
			out, err := run(t, "iscsi-test-cu", "-d", "-t", name, url, url)
			if err != nil || !passed.MatchString(out) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestQEMU(t *testing.T) {
	need.Program(t, "qemu-img", "qemu-io")
	if out, err := run(t, "qemu-img", "info", "iscsi://127.0.0.1:1/x/0"); err != nil && strings.Contains(out, "Unknown protocol") {
		need.Program(t, "the iSCSI driver of QEMU (qemu-block-extra)")
	}
	eachWay(t, func(t *testing.T, options ...option) {
		s := newStage(t, options...)
		s.attach(AttachmentConfig{})
		_, url := s.listen("tcp", "[::1]:0")
		file := filepath.Join(t.TempDir(), "disk.raw")
		if err := os.WriteFile(file, pattern(diskBlocks*blockSize, 5), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{
			{"qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", file, url},
			{"qemu-img", "compare", "-f", "raw", "-F", "raw", file, url},
			{"qemu-img", "convert", "-f", "raw", "-O", "raw", url, file + ".back"},
			{"qemu-img", "compare", "-f", "raw", "-F", "raw", file, file + ".back"},
			{"qemu-io", "-f", "raw", "-c", "write -P 7 4k 1M", "-c", "read -P 7 4k 1M", "-c", "discard 64k 64k", "-c", "flush", url},
			{"qemu-io", "-f", "raw", "-c", "read -P 0 64k 64k", "-c", "read -P 7 128k 64k", url},
		} {
			if out, err := run(t, command[0], command[1:]...); err != nil || strings.Contains(out, "failed") {
				t.Fatalf("%v: %v: %s", command, err, out)
			}
		}
	})
}

package interop

import (
	"fmt"
	"strings"
	"testing"

	"elstore/test/guest"
	"elstore/test/rig"
)

// TestLinuxInitiator is about Debian's kernel and its open-iscsi. Two machines serve all of its parts, since what
// takes time is to start them.
func TestLinuxInitiator(t *testing.T) {
	a := guest.Boot(t, "iqn.2026-01.org.example:a")
	b := guest.Boot(t, "iqn.2026-01.org.example:b")
	for _, part := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"life of a disk", func(t *testing.T) { lifeOfADisk(t, a) }},
		{"trim of a qcow2 image", func(t *testing.T) { trimQCOW2(t, a) }},
		{"restarts in mid-write", func(t *testing.T) { restartInMidWrite(t, a) }},
		{"killed before a sync", func(t *testing.T) { killBeforeSync(t, a) }},
		{"fencing", func(t *testing.T) { fencing(t, a, b) }},
		{"as exported", func(t *testing.T) { asExported(t, a) }},
	} {
		if !t.Run(part.name, part.test) {
			return // the guests may be in any state
		}
	}
}

// attach finds a target by discovery, logs in with these settings of iscsid.conf, and returns the name of the disk,
// as sda. The guest logs out when the test ends.
func attach(t *testing.T, g *guest.Guest, target *rig.Target, settings ...string) string {
	t.Helper()
	discover(t, g, target, settings...)
	g.Run(t, node(target, "--login"))
	t.Cleanup(func() { g.Run(t, node(target, "--logout")+"\n"+node(target, "-o delete")) })
	return diskOf(t, g, target.Name)
}

// diskOf returns the name of a target's disk in the guest, as sda, waiting for the kernel to have it.
func diskOf(t *testing.T, g *guest.Guest, target string) string {
	t.Helper()
	return g.Run(t, fmt.Sprintf(`
		while :; do
			for session in /sys/class/iscsi_session/*; do
				[ "$(cat $session/targetname)" = %s ] || continue
				for disk in $session/device/target*/*/block/sd*; do
					if [ -b /dev/${disk##*/} ]; then echo ${disk##*/}; exit; fi
				done
			done
			sleep 0.05
		done`, target))
}

// discover asks the portal for its targets, which must be this one, and lets the guest know its settings.
func discover(t *testing.T, g *guest.Guest, target *rig.Target, settings ...string) {
	t.Helper()
	settings = append([]string{"node.startup = manual"}, settings...)
	found := g.Run(t, fmt.Sprintf("cat >/etc/iscsi/iscsid.conf <<'END'\n%s\nEND\niscsiadm -m discovery -t sendtargets -p %s",
		strings.Join(settings, "\n"), target.Portal))
	if want := target.Portal + ",1 " + target.Name; found != want {
		t.Fatalf("discovery found %q, want %q", found, want)
	}
}

// node is a command about the guest's record of a target.
func node(target *rig.Target, command string) string {
	return fmt.Sprintf("iscsiadm -m node -T %s -p %s %s", target.Name, target.Portal, command)
}

// quiet checks that the guest's kernel saw no error of a disk or a file system, and forgets its log.
func quiet(t *testing.T, g *guest.Guest) {
	t.Helper()
	if r := g.Try(t, `dmesg -c | grep -iE 'i/o error|critical|ext4-fs (error|warning)|offline|sense key'`); r.Output != "" {
		t.Errorf("the kernel said:\n%s", r.Output)
	}
}

package interop

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"elstore/test/guest"
	"elstore/test/rig"
)

// The keys that the nodes register, and the reservation that they hold: WRITE EXCLUSIVE - REGISTRANTS ONLY.
const (
	keyA, keyB = "0xa", "0xb"
	kind       = " --prout-type=5"
	kindName   = "Write Exclusive, registrants only"
)

// clusterNode is one of a cluster's machines.
type clusterNode struct {
	*guest.Guest
	disk string
}

// fencing plays what cluster managers do: both nodes register, one reserves the disk for those who did, and when
// the other takes it for dead, its key is preempted and its commands are aborted. All of it outlives the server.
func fencing(t *testing.T, guestA, guestB *guest.Guest) {
	image := sparse(t, 16*mib)
	target := rig.StartTarget(t, "--image", image)
	a := clusterNode{guestA, attach(t, guestA, target)}
	b := clusterNode{guestB, attach(t, guestB, target)}

	a.persist(t, "--out --register --param-aptpl --param-sark="+keyA)
	b.persist(t, "--out --register --param-aptpl --param-sark="+keyB)
	a.persist(t, "--out --reserve --param-rk="+keyA+kind)
	for _, n := range []clusterNode{a, b} {
		n.expect(t, "--in --read-keys", keyA, keyB)
		n.expect(t, "--in --read-reservation", "Key="+keyA, kindName)
		n.Run(t, n.write(0))
	}

	counter := a.count(t)
	b.persist(t, "--out --preempt-abort --param-rk="+keyB+" --param-sark="+keyA+kind)
	fenced := contentOf(t, image, "raw")
	if r := counter.Wait(t); !strings.Contains(r.Output, conflict) {
		t.Errorf("the fenced writer ended with %+v", r)
	}
	a.refused(t, "after the preemption")
	if !bytes.Equal(contentOf(t, image, "raw"), fenced) {
		t.Error("something of the fenced node reached the disk after it was fenced")
	}
	if said := a.Run(t, "dmesg -c"); !strings.Contains(said, "reservation conflict") {
		t.Errorf("the kernel of the fenced node said %q", said)
	}
	b.Run(t, b.write(2))

	target.Kill()
	restart(t, target, "--image", image)
	b.expect(t, "--in --read-reservation", "Key="+keyB, kindName)
	if keys := strings.Fields(b.persist(t, "--in --read-keys")); !slices.Contains(keys, keyB) || slices.Contains(keys, keyA) {
		t.Errorf("registered is %q, and only %s should be", keys, keyB)
	}
	a.refused(t, "after a crash of the server")
	b.Run(t, b.write(3))
	disk := contentOf(t, image, "raw")
	for place, want := range []bool{true, false, true, true} {
		if got := disk[place*mib] == 'w'; got != want {
			t.Errorf("megabyte %d was written: %t, want %t", place, got, want)
		}
	}
	quiet(t, guestB)
}

// persist runs sg_persist, again where the node was told of something else instead (a unit attention, exit status
// 6): then nothing was done.
func (n clusterNode) persist(t *testing.T, args string) string {
	t.Helper()
	return n.Run(t, fmt.Sprintf(`
		for try in 1 2 3 4; do
			sg_persist --no-inquiry %s /dev/%s && exit
			status=$?
			[ $status = 6 ] || break
		done
		exit $status`, args, n.disk))
}

// expect runs sg_persist, whose output has to contain every one of the words.
func (n clusterNode) expect(t *testing.T, args string, words ...string) {
	t.Helper()
	out := n.persist(t, args)
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("%s: no %q in %q", args, word, out)
		}
	}
}

// conflict is what Linux tells a program whose write ended with RESERVATION CONFLICT: EBADE.
const conflict = "Invalid exchange"

// write is a script that writes 64 KiB at the start of a megabyte.
func (n clusterNode) write(place int) string {
	return fmt.Sprintf("yes w | dd of=/dev/%s bs=64k count=1 seek=%d iflag=fullblock oflag=direct", n.disk, place*16)
}

// refused checks that the node can't write.
func (n clusterNode) refused(t *testing.T, when string) {
	t.Helper()
	if r := n.Try(t, n.write(1)); r.Status == 0 || !strings.Contains(r.Output, conflict) {
		t.Errorf("%s, a write of the fenced node ended with %+v", when, r)
	}
}

// count starts to count on the disk, in the second megabyte, until a write fails. It returns when that has begun.
func (n clusterNode) count(t *testing.T) *guest.Job {
	t.Helper()
	job := n.Start(fmt.Sprintf(`
		n=0
		while printf '%%4095d\n' $n | dd of=/dev/%s bs=4k count=1 seek=256 iflag=fullblock oflag=direct 2>/tmp/why; do
			n=$((n + 1))
			[ $n != 3 ] || touch /tmp/counting
		done
		touch /tmp/counting
		cat /tmp/why`, n.disk))
	n.Run(t, "until [ -e /tmp/counting ]; do sleep 0.05; done")
	return job
}

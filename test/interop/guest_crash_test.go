package interop

import (
	"fmt"
	"testing"
	"time"

	"elstore/test/guest"
	"elstore/test/need"
	"elstore/test/rig"
)

// outage is how long the server is away after a crash.
const outage = 5 * time.Second

// fileWriter is a guest's process that writes files to a file system of its own and syncs each.
type fileWriter struct {
	guest *guest.Guest
	disk  string
	job   *guest.Job
}

// restartInMidWrite takes the servers of a raw and a qcow2 image away from a guest that writes, once by a crash and
// once as an operator does. The guest must not notice more than a pause, and every file that it had synced must be
// there.
func restartInMidWrite(t *testing.T, g *guest.Guest) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	type served struct {
		*fileWriter
		flags  []string // of the target
		target *rig.Target
	}
	var all []*served
	for _, format := range formats {
		w := &served{flags: []string{"--image", newImage(t, format, 512*mib), "--format", format}}
		w.target = rig.StartTarget(t, w.flags...)
		w.fileWriter = startWriter(t, g, attach(t, g, w.target))
		all = append(all, w)
	}
	for _, w := range all {
		w.more(t)
	}
	for _, w := range all {
		w.target.Kill()
	}
	<-time.After(outage)
	for _, w := range all {
		w.target = restart(t, w.target, w.flags...)
	}
	for _, w := range all {
		w.more(t)
	}
	for _, w := range all {
		if err := w.target.Stop(); err != nil {
			t.Errorf("%v\n%s", err, w.target.Log())
		}
		w.target = restart(t, w.target, w.flags...)
	}
	for _, w := range all {
		w.more(t)
	}
	for _, w := range all {
		w.finish(t)
	}
	quiet(t, g)
}

// startWriter makes a file system on a disk and starts to write.
func startWriter(t *testing.T, g *guest.Guest, disk string) *fileWriter {
	t.Helper()
	w := &fileWriter{guest: g, disk: disk}
	g.Run(t, w.script(`
		rm -f /tmp/$disk.stop /tmp/$disk.ended
		mkfs.ext4 -q /dev/$disk
		mkdir -p /mnt/$disk
		mount -t ext4 /dev/$disk /mnt/$disk
		dd if=/dev/urandom of=/tmp/$disk.data bs=256k count=1 2>/dev/null
		: >/tmp/$disk.synced`))
	w.job = g.Start(w.script(`
		n=0
		until [ -e /tmp/$disk.stop ]; do
			n=$((n + 1))
			{ echo $n; cat /tmp/$disk.data; } >/tmp/$disk.next
			sum=$(md5sum </tmp/$disk.next)
			dd if=/tmp/$disk.next of=/mnt/$disk/$n bs=64k conv=fsync 2>/tmp/$disk.why || break
			echo "${sum%-}/mnt/$disk/$n" >>/tmp/$disk.synced
		done
		touch /tmp/$disk.ended
		[ -e /tmp/$disk.stop ] || { cat /tmp/$disk.why; exit 1; }`))
	return w
}

// script is one that knows the disk.
func (w *fileWriter) script(text string) string { return "disk=" + w.disk + "\n" + text }

// more waits until some more files are synced, or the writer has ended.
func (w *fileWriter) more(t *testing.T) {
	t.Helper()
	w.guest.Run(t, w.script(`
		count() { wc -l </tmp/$disk.synced; }
		want=$(($(count) + 5))
		until [ $(count) -ge $want ] || [ -e /tmp/$disk.ended ]; do sleep 0.05; done`))
}

// finish ends the writer and looks for what it had synced.
func (w *fileWriter) finish(t *testing.T) {
	t.Helper()
	w.guest.Run(t, w.script("touch /tmp/$disk.stop"))
	if r := w.job.Wait(t); r.Status != 0 {
		t.Errorf("the writer of %s ended with %+v", w.disk, r)
	}
	missing := w.guest.Run(t, w.script(`
		umount /mnt/$disk
		echo 3 >/proc/sys/vm/drop_caches
		e2fsck -fn /dev/$disk >/dev/null 2>&1
		mount -t ext4 /dev/$disk /mnt/$disk
		md5sum -c /tmp/$disk.synced 2>&1 | grep -v ': OK$' || true
		umount /mnt/$disk`))
	if missing != "" {
		t.Errorf("what was synced is not there:\n%s", missing)
	}
}

// pieces are where killBeforeSync writes, in MiB: odd places, so that what holds the image has to note many clusters.
var pieces = []int{1, 6, 11}

// killBeforeSync kills who has the writes that it acknowledged and that the guest has not synced. When the guest
// syncs, every byte must be there, whatever was killed.
func killBeforeSync(t *testing.T, g *guest.Guest) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	for _, tt := range []struct{ format, victim string }{
		{"raw", "server"},
		{"qcow2", "server"},
		{"qcow2", "storage daemon"},
	} {
		t.Run(tt.format+", "+tt.victim, func(t *testing.T) {
			const size = 32 * mib
			image := newImage(t, tt.format, size)
			flags := []string{"--image", image, "--format", tt.format}
			target := rig.StartTarget(t, flags...)
			disk := attach(t, g, target)
			g.Run(t, fmt.Sprintf(`
				dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
				for at in %s; do dd if=/tmp/data of=/dev/%s bs=1M seek=$at oflag=direct 2>/dev/null; done`, words(pieces), disk))
			if tt.victim == "server" {
				target.Kill()
				target = restart(t, target, flags...)
			} else {
				killDaemon(t, target, 0)
			}
			sum := g.Run(t, "dd if=/dev/null of=/dev/"+disk+" conv=notrunc,fsync 2>/dev/null; md5sum </tmp/data")
			quiet(t, g)

			target.Kill()
			checkPieces(t, contentOf(t, image, tt.format), size, sum)
			restart(t, target, flags...) // for the guest to log out
		})
	}
}

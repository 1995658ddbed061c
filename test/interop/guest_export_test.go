package interop

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"elstore/export"
	"elstore/test/guest"
	"elstore/test/need"
)

const (
	exportedSize  = 64 * mib
	exportedGrown = 160 * mib
	exportedRate  = 100 // operations per second
)

// exportedDisk is a volume that a guest has attached by running the lines that /export answered, as they are.
type exportedDisk struct {
	store  *store
	guest  *guest.Guest
	id     string
	access export.Access
	disk   string
	writer *fileWriter
}

// asExported is the life of exported volumes, raw and qcow2, from /export to /unexport.
func asExported(t *testing.T, g *guest.Guest) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	s := startStore(t)
	g.Run(t, "echo node.startup = manual >/etc/iscsi/iscsid.conf; dmesg -c >/dev/null")
	var all []*exportedDisk
	each := func(name string, test func(d *exportedDisk, t *testing.T)) {
		t.Helper()
		for i, format := range formats {
			if !t.Run(name+", "+format, func(t *testing.T) { test(all[i], t) }) {
				t.FailNow()
			}
		}
	}
	for _, format := range formats {
		d := &exportedDisk{store: s, guest: g, id: s.create(t, format, exportedSize)}
		all = append(all, d)
		d.attach(t, map[string]any{"read_iops": exportedRate, "write_iops": exportedRate})
	}
	each("limits", (*exportedDisk).limits)
	each("no limits", (*exportedDisk).noLimits)
	each("grow while written to", (*exportedDisk).grow)
	s.Kill()
	s.restart(t)
	each("after a crash", func(d *exportedDisk, t *testing.T) { d.writer.more(t) })
	quiet(t, g)
	raw, other := all[0], all[1]
	t.Run("unexport", raw.unexport)
	t.Run("the other", func(t *testing.T) {
		other.writer.more(t)
		other.writer.finish(t)
		other.logout(t)
	})
	t.Run("export again", raw.again)
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
}

// attach exports the volume and attaches it.
func (d *exportedDisk) attach(t *testing.T, settings map[string]any) {
	t.Helper()
	d.access = d.store.export(t, d.id, settings)
	d.guest.Run(t, strings.Join(d.access.Commands, "\n"))
	d.disk = diskOf(t, d.guest, d.access.Target)
}

// node is a command about the guest's record of the target.
func (d *exportedDisk) node(command string) string {
	return fmt.Sprintf("iscsiadm -m node -T %s -p %s %s", d.access.Target, d.access.Portals[0], command)
}

func (d *exportedDisk) logout(t *testing.T) {
	d.guest.Run(t, d.node("--logout")+"\n"+d.node("-o delete"))
}

// limits checks by the server's own count that no more operations go through than the rates of /export allow: what
// a second allows at once, and from then on what time allows.
func (d *exportedDisk) limits(t *testing.T) {
	const operations, inFlight = 3 * exportedRate, exportedRate / 5
	begin := time.Now()
	before := d.store.counts(t, d.id)
	d.guest.Run(t, fmt.Sprintf(`
		dd if=/dev/%[1]s of=/dev/null bs=4k count=%[2]d iflag=direct 2>/dev/null &
		dd if=/dev/zero of=/dev/%[1]s bs=4k count=%[2]d oflag=direct 2>/dev/null
		wait $!`, d.disk, operations))
	after := d.store.counts(t, d.id)
	most := uint64((time.Since(begin)+time.Second).Seconds()*exportedRate) + inFlight
	for what, n := range map[string]uint64{
		"reads": after.ReadOperations - before.ReadOperations, "writes": after.WriteOperations - before.WriteOperations,
	} {
		if n < operations || n > most {
			t.Errorf("%d %s, want %d or more, and no more than %d in that time", n, what, operations, most)
		}
	}
}

// noLimits lifts the limits of the export that stands. Nothing else of it changes.
func (d *exportedDisk) noLimits(t *testing.T) {
	again := d.store.export(t, d.id, map[string]any{"read_iops": 0, "write_iops": 0})
	if !reflect.DeepEqual(again, d.access) {
		t.Errorf("the volume is attached by %+v, and was by %+v", again, d.access)
	}
	d.writer = startWriter(t, d.guest, d.disk)
	d.writer.more(t)
}

func (d *exportedDisk) grow(t *testing.T) {
	d.store.post(t, "/update/resize", map[string]any{"vid": d.id, "creatorID": client, "size": gb(exportedGrown)}, nil)
	space := d.guest.Run(t, fmt.Sprintf(`
		iscsiadm -m session --rescan >/dev/null
		until [ "$(cat /sys/block/%[1]s/size)" = %[2]d ]; do sleep 0.05; done
		resize2fs /dev/%[1]s >/dev/null 2>&1
		stat -f -c '%%b %%S' /mnt/%[1]s`, d.disk, exportedGrown/512))
	var blocks, blockSize int64
	if _, err := fmt.Sscan(space, &blocks, &blockSize); err != nil || blocks*blockSize < exportedGrown*3/4 {
		t.Errorf("%q: %v; want a file system of nearly %d bytes", space, err, exportedGrown)
	}
	d.writer.more(t)
}

// unexport takes the volume away from the guest that writes to it.
func (d *exportedDisk) unexport(t *testing.T) {
	d.guest.Run(t, `
		for session in /sys/class/iscsi_session/*; do
			[ "$(cat $session/targetname)" != `+d.access.Target+` ] || echo 1 >$session/recovery_tmo # instead of 120 s
		done`)
	d.store.post(t, "/unexport", map[string]any{"client_uid": client, "volume_id": d.id}, nil)
	if r := d.writer.job.Wait(t); r.Status == 0 || !strings.Contains(r.Output, "Input/output error") && !strings.Contains(r.Output, "Read-only file system") {
		t.Errorf("the writer ended with %+v", r)
	}
	d.guest.Run(t, "umount /mnt/"+d.disk)
	d.guest.Run(t, d.node("--logout"))
	if r := d.guest.Try(t, d.node("--login")); !strings.Contains(r.Output, "non-retryable iSCSI login failure") { // not found
		t.Errorf("a login after unexport ended with %+v", r)
	}
	d.guest.Run(t, d.node("-o delete"))
}

// again exports the volume anew. All is there that the guest had synced before it lost it.
func (d *exportedDisk) again(t *testing.T) {
	before := d.access
	d.attach(t, nil)
	if d.access.Secret == before.Secret || d.access.Target != before.Target {
		t.Errorf("the volume is attached by %+v, and was by %+v", d.access, before)
	}
	missing := d.guest.Run(t, fmt.Sprintf(`
		mount -t ext4 /dev/%[1]s /mnt/%[2]s
		md5sum -c /tmp/%[2]s.synced 2>&1 | grep -v ': OK$' || true
		umount /mnt/%[2]s`, d.disk, d.writer.disk))
	if missing != "" {
		t.Errorf("what was synced is not there:\n%s", missing)
	}
	d.logout(t)
}

package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"elstore/test/guest"
	"elstore/test/need"
	"elstore/test/rig"
)

// life is that of a disk which a guest attaches with all that protects it on the wire, and uses as machines do.
type life struct {
	guest  *guest.Guest
	image  string
	target *rig.Target
	disk   string // its name in the guest
	sum    string // of the file in it
}

const (
	lifeSize  = 64 * mib
	lifeGrown = 160 * mib
	lifeData  = 16 * mib // of the file
)

func lifeOfADisk(t *testing.T, g *guest.Guest) {
	l := &life{guest: g, image: sparse(t, lifeSize)}
	l.target = rig.StartTarget(t, "--image", l.image, "--chap", "vm-1:of-the-initiator", "--mutual-chap", "store:of-the-target")
	for _, step := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"wrong secrets", l.wrongSecrets},
		{"login", func(*testing.T) { l.login(t) }}, // and a logout in the end
		{"what was negotiated", l.negotiated},
		{"write and verify", l.write},
		{"grow while mounted", l.grow},
		{"trim", l.trim},
		{"no complaints", l.quiet},
	} {
		if !t.Run(step.name, step.test) {
			return
		}
	}
}

// chap is settings of CHAP in both directions, of discovery or of sessions.
func chap(prefix, secret, mutual string) []string {
	auth := prefix + ".auth."
	return []string{
		auth + "authmethod = CHAP", auth + "username = vm-1", auth + "password = " + secret,
		auth + "username_in = store", auth + "password_in = " + mutual,
	}
}

func (l *life) wrongSecrets(t *testing.T) {
	for _, tt := range []struct{ secret, mutual, want string }{
		{"of-the-initiator?", "of-the-target", "authorization failure"},
		{"of-the-initiator", "of-the-target?", "non-retryable iSCSI login failure"}, // the initiator ends it
	} {
		settings := append(chap("discovery.sendtargets", "of-the-initiator", "of-the-target"), chap("node.session", tt.secret, tt.mutual)...)
		discover(t, l.guest, l.target, settings...)
		if r := l.guest.Try(t, node(l.target, "--login")); !strings.Contains(r.Output, tt.want) {
			t.Errorf("a login with %q and %q ended with %+v", tt.secret, tt.mutual, r)
		}
	}
}

func (l *life) login(t *testing.T) {
	settings := []string{
		"node.conn[0].iscsi.HeaderDigest = CRC32C", "node.conn[0].iscsi.DataDigest = CRC32C",
		"node.session.auth.chap_algs = SHA3-256", // discovery has MD5
	}
	for _, prefix := range []string{"discovery.sendtargets", "node.session"} {
		settings = append(settings, chap(prefix, "of-the-initiator", "of-the-target")...)
	}
	l.disk = attach(t, l.guest, l.target, settings...)
}

func (l *life) negotiated(t *testing.T) {
	got := l.guest.Run(t, fmt.Sprintf(`
		cat /sys/class/iscsi_connection/*/header_digest /sys/class/iscsi_connection/*/data_digest
		cat /sys/class/iscsi_session/*/username /sys/class/iscsi_session/*/username_in
		cd /sys/block/%s
		cat size device/vendor queue/write_cache`, l.disk))
	if want := fmt.Sprintf("1\n1\nvm-1\nstore\n%d\nELSTORE \nwrite back", lifeSize/512); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func (l *life) write(t *testing.T) {
	l.sum = l.guest.Run(t, fmt.Sprintf(`
		mkfs.ext4 -q /dev/%[1]s
		mount -t ext4 /dev/%[1]s /mnt
		dd if=/dev/urandom of=/mnt/data bs=1M count=%[2]d 2>/dev/null
		md5sum </mnt/data
		umount /mnt
		echo 3 >/proc/sys/vm/drop_caches
		mount -t ext4 /dev/%[1]s /mnt`, l.disk, lifeData/mib))
	if got := l.guest.Run(t, "md5sum </mnt/data"); got != l.sum {
		t.Errorf("%s was written and %s read", l.sum, got)
	}
}

func (l *life) grow(t *testing.T) {
	if err := os.Truncate(l.image, lifeGrown); err != nil {
		t.Fatal(err)
	}
	l.target.Resize(t)
	got := l.guest.Run(t, fmt.Sprintf(`
		until dmesg | grep -q 'Capacity data has changed'; do
			dd if=/dev/%[1]s of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null
		done
		iscsiadm -m session --rescan >/dev/null
		until [ "$(cat /sys/block/%[1]s/size)" = %[2]d ]; do sleep 0.05; done
		resize2fs /dev/%[1]s >/dev/null 2>&1
		md5sum </mnt/data
		stat -f -c '%%b %%S' /mnt`, l.disk, lifeGrown/512))
	sum, space, _ := strings.Cut(got, "\n")
	var blocks, blockSize int64
	if _, err := fmt.Sscan(space, &blocks, &blockSize); err != nil || sum != l.sum || blocks*blockSize < lifeGrown*3/4 {
		t.Errorf("%q: %v; want %q and a file system of nearly %d bytes", got, err, l.sum, lifeGrown)
	}
}

func (l *life) trim(t *testing.T) {
	full := allocated(t, l.image)
	trimmed := l.guest.Run(t, "rm /mnt/data; sync /mnt; fstrim -v /mnt | grep -o '[0-9]* bytes'")
	if n, err := strconv.ParseInt(strings.TrimSuffix(trimmed, " bytes"), 10, 64); err != nil || n < lifeData {
		t.Errorf("fstrim said %q, want %d bytes or more", trimmed, lifeData)
	}
	if left := allocated(t, l.image); left > full-lifeData*7/8 { // the journal takes a little
		t.Errorf("%d bytes of the image are allocated, %d were before %d were trimmed", left, full, lifeData)
	}
}

func (l *life) quiet(t *testing.T) {
	l.guest.Run(t, "umount /mnt; e2fsck -fn /dev/"+l.disk)
	quiet(t, l.guest)
}

// trimQCOW2 gives back what a qcow2 image has, with its storage daemon between.
func trimQCOW2(t *testing.T, g *guest.Guest) {
	need.Program(t, "qemu-img", "qemu-storage-daemon")
	image := newImage(t, "qcow2", 64*mib)
	disk := attach(t, g, rig.StartTarget(t, "--image", image, "--format", "qcow2"))
	g.Run(t, "dd if=/dev/urandom of=/dev/"+disk+" bs=1M count=16 oflag=direct")
	full := allocated(t, image)
	if full < 16*mib {
		t.Fatalf("%d bytes are allocated, and %d were written", full, 16*mib)
	}
	g.Run(t, "blkdiscard -o 0 -l 8388608 /dev/"+disk)
	// A hole can cost the file system that the image lies on a block for its map, and the image a cluster of metadata.
	const maps = 128 << 10
	if left := allocated(t, image); left > full-8*mib+maps {
		t.Errorf("%d bytes of the image are allocated, %d were before 8 MiB were trimmed", left, full)
	}
	quiet(t, g)
}

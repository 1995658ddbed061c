package interop

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"elstore/export/iscsi/pdu"
	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume/file"
)

// capacityChanged is CAPACITY DATA HAS CHANGED.
const capacityChanged = 0x2a09

// capacity is READ CAPACITY(16): the size in bytes.
func capacity(t *testing.T, i *initiator) int64 {
	t.Helper()
	data, err := i.do(t.Context(), command{cdb: []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, in: 32})
	if err != nil || len(data) < 12 {
		t.Fatalf("READ CAPACITY: %d bytes, %v", len(data), err)
	}
	return int64(binary.BigEndian.Uint64(data)+1) * int64(binary.BigEndian.Uint32(data[8:]))
}

// TestGrowsOnHangup: a raw image whose file grew is larger for initiators once the target is told.
func TestGrowsOnHangup(t *testing.T) {
	image := sparse(t, 8*mib)
	target := rig.StartTarget(t, "--image", image)
	i := newInitiator(target, "guest", 0)
	defer i.close()
	if err := i.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := capacity(t, i); got != 8*mib {
		t.Fatalf("the disk has %d bytes", got)
	}
	if err := os.Truncate(image, 16*mib); err != nil {
		t.Fatal(err)
	}
	if got := capacity(t, i); got != 8*mib {
		t.Errorf("before the target is told the disk has %d bytes", got)
	}
	target.Resize(t)
	for {
		_, err := i.once(command{cdb: []byte{0}})
		if a, ok := errors.AsType[*answered](err); ok && a.asc == capacityChanged {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := capacity(t, i); got != 16*mib {
		t.Errorf("the disk has %d bytes", got)
	}
	if _, err := i.once(write10(16*mib/block-8, make([]byte, 8*block))); err != nil {
		t.Error(err)
	}
	i.close()
	if err := target.Stop(); err != nil {
		t.Errorf("%v\n%s", err, target.Log())
	}
}

// TestStopAsksForLogout: SIGTERM is a request to log out, and then the end.
func TestStopAsksForLogout(t *testing.T) {
	target := rig.StartTarget(t, "--ram", "64Mi")
	i := newInitiator(target, "guest", 0)
	defer i.close()
	if err := i.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- target.Stop() }()
	in, err := i.reader.Next()
	if err != nil || in.BHS.Opcode() != pdu.OpAsync {
		t.Fatalf("got %v, %v", in, err)
	}
	var a pdu.Async
	if a.Decode(in.BHS); a.AsyncEvent != pdu.AsyncLogoutRequest {
		t.Errorf("got %+v", a)
	}
	i.close()
	if err := <-stopped; err != nil {
		t.Errorf("%v\n%s", err, target.Log())
	}
}

// TestImageIsServedOnce: a second process gets an image only where both only read.
func TestImageIsServedOnce(t *testing.T) {
	t.Parallel() // a target waits a while for an image
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			if format != "raw" {
				need.Program(t, "qemu-img", "qemu-storage-daemon")
			}
			image := newImage(t, format, 8*mib)
			flags := []string{"--image", image, "--format", format}
			refused := func(flags ...string) {
				t.Helper()
				if err := rig.LaunchTarget(t, flags...).Ready(); err == nil || !strings.Contains(err.Error(), "another process uses") {
					t.Errorf("with %v: %v", flags, err)
				}
			}
			writer := rig.StartTarget(t, flags...)
			refused(append(flags, "--readonly")...)
			if err := writer.Stop(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				reader := rig.StartTarget(t, append(flags, "--readonly")...)
				i := newInitiator(reader, "guest", 0)
				defer i.close()
				if err := i.login(t.Context()); err != nil {
					t.Fatal(err)
				}
				_, err := i.once(write10(0, make([]byte, block)))
				if a, ok := errors.AsType[*answered](err); !ok || a.key != 7 { // DATA PROTECT
					t.Errorf("a write: %v", err)
				}
			}
			refused(flags...)
		})
	}
}

// TestVolumeIsLocked: an image that is a volume's is served only while nothing is done to the volume, and the other way round.
func TestVolumeIsLocked(t *testing.T) {
	t.Parallel() // a target waits a while for an image
	dir := filepath.Join(t.TempDir(), "vid.155a8574f06542f1ac2fbe8790b35160.elimg")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "data.img")
	if err := os.Rename(sparse(t, mib), image); err != nil {
		t.Fatal(err)
	}
	lock, err := file.OpenLock(image)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := rig.LaunchTarget(t, "--image", image).Ready(); err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("while something is done to the volume: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	rig.StartTarget(t, "--image", image)
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("while it is served its lock is free: %v", err)
	}
}

// TestCHAP has libiscsi prove itself, and want a proof.
func TestCHAP(t *testing.T) {
	need.Program(t, "iscsi-inq")
	secrets := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(secrets, []byte("vm:correct_horse_battery\nstore:staple_of_the_store\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	target := rig.StartTarget(t, "--ram", "64Mi", "--chap-file", secrets)
	path := strings.TrimPrefix(target.URL, "iscsi://")
	for _, c := range []struct {
		name, url string
		works     bool
	}{
		{"none", "iscsi://" + path, false},
		{"one way", "iscsi://vm%correct_horse_battery@" + path, true},
		{"a wrong secret", "iscsi://vm%correct_horse@" + path, false},
		{"a wrong name", "iscsi://wm%correct_horse_battery@" + path, false},
		{"mutual", "iscsi://vm%correct_horse_battery@" + path + "?target_user=store&target_password=staple_of_the_store", true},
		{"another's proof", "iscsi://vm%correct_horse_battery@" + path + "?target_user=store&target_password=of_somebody_else", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, err := run(t, "iscsi-inq", c.url); (err == nil) != c.works {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if err := target.Stop(); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"correct_horse", "staple_of"} {
		if strings.Contains(target.Log(), secret) {
			t.Errorf("a secret is in what the target printed:\n%s", target.Log())
		}
	}
}

// TestCDROM: an ISO image of whatever length is a CD-ROM.
func TestCDROM(t *testing.T) {
	image := sparse(t, 3*mib+1000)
	target := rig.StartTarget(t, "--image", image, "--cdrom")
	i := newInitiator(target, "guest", 0)
	defer i.close()
	if err := i.login(t.Context()); err != nil {
		t.Fatal(err)
	}
	inquiry, err := i.do(t.Context(), command{cdb: []byte{0x12, 0, 0, 0, 36, 0}, in: 36})
	if err != nil || inquiry[0] != 5 || inquiry[1]&0x80 == 0 {
		t.Errorf("INQUIRY: % x, %v", inquiry, err)
	}
	data, err := i.do(t.Context(), command{cdb: cdb10(0x28, 3*mib/2048, 1), in: 2048})
	if err != nil || len(data) != 2048 {
		t.Errorf("the last sector: %d bytes, %v", len(data), err)
	}
}

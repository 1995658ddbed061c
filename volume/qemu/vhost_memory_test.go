package qemu

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

func newTestMemory(t testing.TB) *sharedMemory {
	t.Helper()
	m, err := newSharedMemory()
	must(t, err)
	t.Cleanup(m.close)
	return m
}

// Nobody can run it, where the kernel knows of that.
func TestSharedMemoryIsNoProgram(t *testing.T) {
	m := newTestMemory(t)
	var st unix.Stat_t
	must(t, unix.Fstat(int(m.file.Fd()), &st))
	other, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return // a kernel before 6.3 can't forbid to run it, and there was memory nonetheless
	}
	must(t, unix.Close(other))
	if st.Mode&0o111 != 0 {
		t.Errorf("its mode is %o", st.Mode)
	}
}

func TestSharedMemoryTakes(t *testing.T) {
	const first = (queueEnd + pageSize - 1) / pageSize * pageSize
	m := newTestMemory(t)
	take := func(length, want int) {
		t.Helper()
		if at, ok := m.take(length); ok != (want >= 0) || ok && at != want {
			t.Fatalf("%d bytes are at %d, %v, want %d", length, at, ok, want)
		}
	}
	take(1, first)
	take(pageSize, first+pageSize)
	take(pageSize+1, first+2*pageSize)
	take(100*pageSize, first+4*pageSize)
	m.give(first+pageSize, pageSize)
	take(2*pageSize, first+104*pageSize) // it does not fit into the gap
	take(512, first+pageSize)            // this does
	m.give(first+4*pageSize, 100*pageSize)
	take(4<<20, first+106*pageSize)
	take(100*pageSize, first+4*pageSize)
	take(sharedBytes, -1)
	rest := sharedBytes - first - 106*pageSize - 4<<20
	take(rest+1, -1)
	take(rest, first+106*pageSize+4<<20)
	take(1, -1)
}

// However memory is taken and given back, no two have the same, and it all comes back.
func TestSharedMemoryModel(t *testing.T) {
	m := newTestMemory(t)
	fresh := m.used
	r := rand.New(rand.NewPCG(1, 2))
	type area struct{ at, length int }
	var areas []area
	owner := make([]bool, sharedPages)
	pages := func(a area) []bool { return owner[a.at/pageSize : (a.at+a.length+pageSize-1)/pageSize] }
	for range 20_000 {
		if len(areas) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(areas))
			a := areas[i]
			areas[i] = areas[len(areas)-1]
			areas = areas[:len(areas)-1]
			m.give(a.at, a.length)
			clear(pages(a))
			continue
		}
		a := area{length: 1 + r.IntN(1<<r.IntN(23))}
		var ok bool
		if a.at, ok = m.take(a.length); !ok {
			continue
		}
		if a.at < queueEnd || a.at%pageSize != 0 || a.at+a.length > sharedBytes {
			t.Fatalf("%d bytes at %d", a.length, a.at)
		}
		for i, taken := range pages(a) {
			if taken {
				t.Fatalf("page %d of %d bytes at %d is taken", i, a.length, a.at)
			}
			pages(a)[i] = true
		}
		areas = append(areas, a)
	}
	for _, a := range areas {
		m.give(a.at, a.length)
	}
	if m.used != fresh {
		t.Error("something is lost")
	}
}

// Whoever has the descriptor can't take the memory away.
func TestSharedMemoryIsSealed(t *testing.T) {
	m := newTestMemory(t)
	fd := int(m.file.Fd())
	for _, size := range []int64{0, sharedBytes - pageSize, sharedBytes + pageSize} {
		if err := unix.Ftruncate(fd, size); !errors.Is(err, unix.EPERM) {
			t.Errorf("to %d bytes: %v", size, err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("another seal: %v", err)
	}
}

// What was needed for a while is given back to the system.
func TestSharedMemoryTrims(t *testing.T) {
	m := newTestMemory(t)
	blocks := func() int64 {
		var st unix.Stat_t
		must(t, unix.Fstat(int(m.file.Fd()), &st))
		return st.Blocks * 512
	}
	at, ok := m.take(8 << 20)
	if !ok {
		t.Fatal("no room")
	}
	for i := range 8 << 20 {
		m.bytes[at+i] = 1
	}
	m.give(at, 8<<20)
	if n := blocks(); n < 8<<20 {
		t.Fatalf("%d bytes are used", n)
	}
	for range 2 {
		must(t, m.trim())
		if n := blocks(); n > keptPages*pageSize {
			t.Errorf("%d bytes are used", n)
		}
	}
}

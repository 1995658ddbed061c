package interop

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"elstore/test/rig"
)

// Service actions of PERSISTENT RESERVE OUT, SPC-4 table 220, and a type of reservation.
const (
	prRegister        = 0x00
	prReserve         = 0x01
	prPreemptAndAbort = 0x05
	registrantsOnly   = 0x05 // write exclusive, for those that are registered
	aptpl             = 0x01 // what is registered outlives a loss of power
)

// prOut is PERSISTENT RESERVE OUT.
func prOut(action, kind byte, key, other uint64, flags byte) command {
	list := make([]byte, 24)
	binary.BigEndian.PutUint64(list, key)
	binary.BigEndian.PutUint64(list[8:], other)
	list[20] = flags
	return command{cdb: []byte{0x5f, action, kind, 0, 0, 0, 0, 0, byte(len(list)), 0}, data: list}
}

// keys reads the registered keys.
func keys(t *testing.T, i *initiator) []uint64 {
	t.Helper()
	data, err := i.do(t.Context(), command{cdb: []byte{0x5e, 0, 0, 0, 0, 0, 0, 1, 0, 0}, in: 256})
	if err != nil || len(data) < 8 {
		t.Fatalf("PERSISTENT RESERVE IN: %d bytes, %v", len(data), err)
	}
	var list []uint64
	for rest := data[8 : 8+binary.BigEndian.Uint32(data[4:])]; len(rest) >= 8; rest = rest[8:] {
		list = append(list, binary.BigEndian.Uint64(rest))
	}
	return list
}

// TestFencing is what a cluster does with a node that it lost: the others take its registration away, and from then on it
// can't write, nor after the server was killed and started again, until it registers anew.
func TestFencing(t *testing.T) {
	image := sparse(t, 64*mib)
	target := rig.StartTarget(t, "--image", image)
	nodes := map[string]*initiator{}
	for n, name := range []string{"one", "two", "stranger"} {
		i := newInitiator(target, name, byte(n))
		defer i.close()
		if err := i.login(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes[name] = i
	}
	one, two, stranger := nodes["one"], nodes["two"], nodes["stranger"]
	do := func(i *initiator, c command) {
		t.Helper()
		if _, err := i.do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	data := make([]byte, block)
	may := func(who string, want bool) {
		t.Helper()
		_, err := nodes[who].do(t.Context(), write10(7, data))
		a, _ := errors.AsType[*answered](err)
		if want && err != nil || !want && (a == nil || a.status != statusConflict) {
			t.Errorf("may node %s write? Want %v, got %v", who, want, err)
		}
		if _, err := nodes[who].do(t.Context(), read10(7, 1)); err != nil {
			t.Errorf("node %s can't read: %v", who, err)
		}
	}
	do(one, prOut(prRegister, 0, 0, 1, aptpl))
	do(two, prOut(prRegister, 0, 0, 2, aptpl))
	do(one, prOut(prReserve, registrantsOnly, 1, 0, 0))
	may("one", true)
	may("two", true)
	may("stranger", false)

	// Node one is lost; two takes over.
	do(two, prOut(prPreemptAndAbort, registrantsOnly, 2, 1, 0))
	for _, when := range []string{"at once", "after a restart"} {
		t.Log(when)
		may("one", false)
		may("two", true)
		may("stranger", false)
		if got := keys(t, stranger); len(got) != 1 || got[0] != 2 {
			t.Errorf("%s the keys are %v", when, got)
		}
		if when == "at once" {
			target.Kill()
			target = restart(t, target, "--image", image)
		}
	}
	do(one, prOut(prRegister, 0, 0, 3, aptpl))
	may("one", true)
	info, err := os.Stat(image + ".reservations")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the reservations are kept in %v, %v", info, err)
	}
}

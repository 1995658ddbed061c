package interop

import "testing"

// TestQEMUOffloadsCopies has QEMU copy a volume onto another: by EXTENDED COPY where both are exported for the initiator that it is, and by
// itself where nothing says who that is.
func TestQEMUOffloadsCopies(t *testing.T) {
	needISCSI(t)
	const size = 16 * mib
	s := startStore(t)
	image := source(t, size)
	for name, c := range map[string]struct {
		from, to  string
		offloaded bool
	}{
		"one initiator": {"iqn.1993-08.org.debian:01:vm", "iqn.1993-08.org.debian:01:vm", true},
		"nobody named":  {"", "", false},
		"one named":     {"iqn.1993-08.org.debian:01:vm", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			export := func(initiator, format string) (id, object, disk string) {
				id = s.create(t, format, size)
				var settings map[string]any
				if initiator != "" {
					settings = map[string]any{"initiator": initiator}
				}
				a := s.export(t, id, settings)
				return id, string(a.Object), string(a.Blockdev)
			}
			_, secret, from := export(c.from, "raw")
			id, other, to := export(c.to, "qcow2")
			must(t, "qemu-img", "convert", "--object", secret, "-n", "-f", "raw", "-O", "raw", image, "json:"+from)
			must(t, "qemu-img", "convert", "--object", secret, "--object", other, "-C", "-n", "-f", "raw", "-O", "raw", "json:"+from, "json:"+to)
			must(t, "qemu-img", "compare", "--object", other, "-f", "raw", "-F", "raw", image, "json:"+to)
			if n := s.counts(t, id); (n.WriteBytes < size/4) != c.offloaded {
				t.Errorf("%d bytes of %d were sent in %d commands", n.WriteBytes, size, n.WriteOperations)
			}
		})
	}
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
}

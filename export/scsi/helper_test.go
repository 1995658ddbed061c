package scsi

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// ram is a Device in memory that knows which of its 512-byte sectors are mapped, and can be made to fail.
type ram struct {
	mu      sync.Mutex
	data    []byte
	mapped  []bool
	flushed []byte // the content at the last Flush

	fail  func(op string, off, length int64) error // nil never fails
	calls []string
}

func newRAM(size int) *ram {
	return &ram{data: make([]byte, size), mapped: make([]bool, (size+511)/512), flushed: make([]byte, size)}
}

// begin notes a call and checks that it stays within the medium. r.mu is held.
func (r *ram) begin(op string, off, length int64) error {
	r.calls = append(r.calls, op)
	if off < 0 || length < 0 || off+length > int64(len(r.data)) {
		panic(fmt.Sprintf("%s of %d bytes at %d of %d", op, length, off, len(r.data)))
	}
	if r.fail != nil {
		return r.fail(op, off, length)
	}
	return nil
}

func (r *ram) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin("read", off, int64(len(p))); err != nil {
		return 0, err
	}
	return copy(p, r.data[off:]), nil
}

func (r *ram) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	for i := off / 512; i*512 < off+int64(len(p)); i++ {
		r.mapped[i] = true
	}
	return copy(r.data[off:], p), nil
}

func (r *ram) WriteZeroes(off, length int64, unmap bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := "zero"
	if unmap {
		op = "unmap"
	}
	if err := r.begin(op, off, length); err != nil {
		return err
	}
	clear(r.data[off : off+length])
	for i := off / 512; i*512 < off+length; i++ {
		r.mapped[i] = !unmap
	}
	return nil
}

func (r *ram) Flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin("flush", 0, 0); err != nil {
		return err
	}
	copy(r.flushed, r.data)
	return ctx.Err()
}

func (r *ram) Size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.data))
}

func (r *ram) NextExtent(_ context.Context, off int64) (int64, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin("extent", off, 0); err != nil {
		return 0, false, err
	}
	end := off / 512
	for end < int64(len(r.mapped)) && r.mapped[end] == r.mapped[off/512] {
		end++
	}
	return end*512 - off, r.mapped[off/512], nil
}

// grow changes the size.
func (r *ram) grow(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data = append(r.data, make([]byte, size-len(r.data))...)
	r.mapped = append(r.mapped, make([]bool, size/512-len(r.mapped))...)
	r.flushed = append(r.flushed, make([]byte, size-len(r.flushed))...)
}

// called returns the calls since the last time.
func (r *ram) called() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := strings.Join(r.calls, " ")
	r.calls = nil
	return calls
}

// failOn makes every call of an operation fail.
func failOn(op string, err error) func(string, int64, int64) error {
	return func(got string, _, _ int64) error {
		if got == op {
			return err
		}
		return nil
	}
}

// plain is a Device without any of the optional methods.
type plain struct{ Device }

// memoryStore is a ReservationStore that can be made to fail.
type memoryStore struct {
	saved *Reservations
	saves int
	err   error
}

func (s *memoryStore) Load(context.Context) (*Reservations, error) { return s.saved, s.err }

func (s *memoryStore) Save(_ context.Context, r *Reservations) error {
	if s.err != nil {
		return s.err
	}
	s.saved = r.clone()
	s.saves++
	return nil
}

var testID = ID{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8}

// newUnit makes a logical unit, on a RAM disk of 1 MiB where cfg has none.
func newUnit(t testing.TB, cfg Config) *LogicalUnit {
	t.Helper()
	if cfg.Device == nil {
		cfg.Device = newRAM(1 << 20)
	}
	cfg.ID = testID
	lu, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lu.Close)
	return lu
}

var testPort = Port{Target: "iqn.2004-10.cloud.elemento:01:x", Name: "iqn.2004-10.cloud.elemento:01:x,t,0x0001", ID: 1}

// initiatorPort returns the name of the nth initiator port.
func initiatorPort(n int) string {
	return fmt.Sprintf("iqn.1993-08.org.debian:%02x,i,0x00023d%06x", n, n)
}

// attach adds a nexus and takes its first unit attention.
func attach(t testing.TB, lu *LogicalUnit, n int) *Nexus {
	t.Helper()
	nexus, err := lu.Attach(NexusConfig{Initiator: initiatorPort(n), Port: testPort})
	if err != nil {
		t.Fatal(err)
	}
	nexus.pending.Store(0)
	return nexus
}

// reply is what a command gave.
type reply struct {
	*Command
	data []byte
}

// send runs a command whose initiator expects as much as the command moves. The CDB is in hexadecimal digits,
// blanks between them don't matter.
func send(t testing.TB, n *Nexus, cdb string, out ...[]byte) reply {
	t.Helper()
	c := &Command{CDB: parseCDB(t, cdb), Out: out}
	plan := n.unit.Plan(&c.CDB)
	c.Expected = max(plan.In, plan.Out)
	if len(out) > 0 {
		c.Expected = c.offered()
	}
	c.In = make([]byte, plan.In)
	n.unit.Execute(t.Context(), n, c)
	return reply{c, c.In[:c.Received]}
}

func parseCDB(t testing.TB, text string) (cdb [16]byte) {
	t.Helper()
	copy(cdb[:], unhex(t, text))
	return cdb
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// String says how the command ended: GOOD, or the sense key and code.
func (r reply) String() string { return ending(r.Command) }

func ending(c *Command) string {
	switch c.Status {
	case StatusGood:
		return "good"
	case StatusReservationConflict:
		return "conflict"
	case StatusTaskAborted:
		return "aborted"
	case StatusCheckCondition:
	default:
		return fmt.Sprintf("status %02x", uint8(c.Status))
	}
	s := c.Sense()
	if s[0]&0x7f == 0x72 {
		return fmt.Sprintf("%x/%02x/%02x", s[1], s[2], s[3])
	}
	return fmt.Sprintf("%x/%02x/%02x", s[2], s[12], s[13])
}

// want checks how a command ended.
func (r reply) want(t testing.TB, ending string) reply {
	t.Helper()
	if got := r.String(); got != ending {
		t.Fatalf("command %x ended with %s, want %s", r.CDB, got, ending)
	}
	return r
}

// wantField checks that the sense data points at a field: in the CDB or in the parameters ("c", "p"), byte
// and bit, as "c2.5" or "p20".
func (r reply) wantField(t testing.TB, want string) reply {
	t.Helper()
	if got := fieldPointer(r.Command); got != want {
		t.Fatalf("command %x points at %q, want %q", r.CDB, got, want)
	}
	return r
}

func fieldPointer(c *Command) string {
	s := c.Sense()
	if len(s) < 18 || s[15]&0x80 == 0 {
		return ""
	}
	where := "p"
	if s[15]&0x40 != 0 {
		where = "c"
	}
	where += fmt.Sprint(binary.BigEndian.Uint16(s[16:]))
	if s[15]&0x08 != 0 {
		where += fmt.Sprintf(".%d", s[15]&7)
	}
	return where
}

// wantInfo checks the INFORMATION field of fixed format sense data.
func (r reply) wantInfo(t testing.TB, info uint32) reply {
	t.Helper()
	s := r.Sense()
	if len(s) < 18 || s[0]&0x80 == 0 || binary.BigEndian.Uint32(s[3:]) != info {
		t.Fatalf("sense data %x, want the information %#x", s, info)
	}
	return r
}

// wantData checks what came back.
func (r reply) wantData(t testing.TB, want string) reply {
	t.Helper()
	if r.want(t, "good"); !bytes.Equal(r.data, unhex(t, want)) {
		t.Fatalf("command %x gave\n%x, want\n%x", r.CDB, r.data, unhex(t, want))
	}
	return r
}

// pattern returns n blocks of 512 bytes that are all different.
func pattern(seed, n int) []byte {
	p := make([]byte, 512*n)
	for i := range p {
		p[i] = byte(seed + i + i/512*7)
	}
	return p
}

var errTest = errors.New("test error")

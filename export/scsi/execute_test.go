package scsi

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestPlan(t *testing.T) {
	lu := newUnit(t, Config{Thin: true, Limits: Limits{TransferLength: 64}})
	tests := []struct {
		name, cdb string
		want      Plan
	}{
		{"READ(10)", "28 00 00000010 00 0002 00", Plan{Kind: KindRead, Offset: 8192, Length: 1024, In: 1024, Direct: true}},
		{"READ(6)", "08 000010 02 00", Plan{Kind: KindRead, Offset: 8192, Length: 1024, In: 1024, Direct: true}},
		{"READ(6) with what would be FUA", "08 080010 01 00", Plan{Kind: KindRead, Offset: 0x80010 * 512, Length: 512, In: 512}},
		{"READ with FUA", "28 08 00000010 00 0002 00", Plan{Kind: KindRead, Offset: 8192, Length: 1024, In: 1024}},
		{"READ beyond the end", "28 00 00000800 00 0001 00", Plan{Kind: KindRead, Offset: 1 << 20, Length: 512, In: 512}},
		{"READ of nothing", "28 00 00000000 00 0000 00", Plan{Kind: KindRead}},
		{"READ that is too long", "28 00 00000000 00 0041 00", Plan{Kind: KindRead}},
		{"WRITE(16)", "8a 00 0000000000000010 00000002 00 00", Plan{Kind: KindWrite, Offset: 8192, Length: 1024, Out: 1024, Changes: true}},
		{"WRITE AND VERIFY", "2e 02 00000010 00 0002 00", Plan{Kind: KindVerify, Out: 1024, Changes: true}},
		{"VERIFY", "2f 00 00000010 00 0002 00", Plan{Kind: KindVerify}},
		{"VERIFY with data", "2f 02 00000010 00 0002 00", Plan{Kind: KindVerify, Out: 1024}},
		{"VERIFY with a block", "2f 06 00000010 00 0002 00", Plan{Kind: KindVerify, Out: 512}},
		{"COMPARE AND WRITE", "89 00 0000000000000010 000000 03 00 00", Plan{Kind: KindVerify, Out: 3072, Changes: true}},
		{"WRITE SAME", "41 00 00000010 00 0100 00", Plan{Kind: KindZero, Out: 512, Changes: true}},
		{"WRITE SAME, NDOB", "93 01 0000000000000010 00000100 00 00", Plan{Kind: KindZero, Changes: true}},
		{"UNMAP", "42 00 0000 0000 00 0018 00", Plan{Kind: KindZero, Out: 24, Changes: true}},
		{"SYNCHRONIZE CACHE", "35", Plan{Kind: KindFlush}},
		{"INQUIRY", "12 00 00 00ff 00", Plan{In: 255}},
		{"READ CAPACITY(10)", "25", Plan{In: 8}},
		{"REPORT LUNS", "a000 00 000000 ffffffff 0000", Plan{In: maximumParameterIn}},
		{"MODE SELECT", "15 10 0000 18 00", Plan{Out: 24, Changes: true}},
		{"PERSISTENT RESERVE OUT", "5f 00 00 0000 00000018 00", Plan{Out: 24, Changes: true}},
		{"PERSISTENT RESERVE OUT that is too long", "5f 00 00 0000 ffffffff 00", Plan{Out: maximumParameterOut, Changes: true}},
		{"PERSISTENT RESERVE IN", "5e 00 0000000000 0100 00", Plan{In: 256}},
		{"unknown", "c0", Plan{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cdb := parseCDB(t, tt.cdb)
			if got := lu.Plan(&cdb); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAdmitAndFinish(t *testing.T) {
	stats, own := new(Stats), new(Stats)
	lu := newUnit(t, Config{Counters: stats})
	n, err := lu.Attach(NexusConfig{Initiator: initiatorPort(1), Port: testPort, Counters: own})
	if err != nil {
		t.Fatal(err)
	}
	c := &Command{CDB: parseCDB(t, "28 00 00000010 00 0004 00"), Expected: 1024}
	if lu.Admit(n, c) || ending(c) != "6/29/00" {
		t.Fatalf("ended with %s", ending(c))
	}
	if !lu.Admit(n, c) {
		t.Fatalf("refused with %s", ending(c))
	}
	lu.Finish(n, c, 1024, nil)
	if residual, over := c.Residual(); ending(c) != "good" || c.Received != 0 || residual != 1024 || !over {
		t.Errorf("ended with %s, residual %d", ending(c), residual)
	}
	if !lu.Admit(n, c) {
		t.Fatal("refused")
	}
	lu.Finish(n, c, 700, syscall.EIO)
	reply{c, nil}.want(t, "3/11/00").wantInfo(t, 0x11)
	for name, s := range map[string]*Stats{"the unit": stats, "the nexus": own} {
		if got := s.Snapshot(KindRead); got.Operations != 3 || got.Bytes != 1024 || got.Errors != 2 {
			t.Errorf("%s has counted %d operations, %d bytes, %d errors", name, got.Operations, got.Bytes, got.Errors)
		}
	}
}

func TestCounting(t *testing.T) {
	stats := new(Stats)
	n := attach(t, newUnit(t, Config{Counters: stats}), 1)
	send(t, n, "28 00 00000000 00 0003 00").want(t, "good")
	send(t, n, "2a 00 00000000 00 0002 00", pattern(1, 2)).want(t, "good")
	send(t, n, "2a 00 00000000 00 0001 00", pattern(1, 2)).want(t, "good") // more data than are wanted
	send(t, n, "2a 00 ffffffff 00 0001 00").want(t, "5/21/00")
	send(t, n, "35").want(t, "good")
	send(t, n, "c0").want(t, "5/20/00")
	send(t, n, "12 00 00 0060 00").want(t, "good")
	for kind, want := range map[Kind][3]uint64{KindRead: {1, 1536, 0}, KindWrite: {3, 1536, 1}, KindFlush: {1, 0, 0}, KindOther: {2, 96, 1}, KindZero: {}} {
		if got := stats.Snapshot(kind); [3]uint64{got.Operations, got.Bytes, got.Errors} != want {
			t.Errorf("kind %d: %d operations, %d bytes, %d errors, want %v", kind, got.Operations, got.Bytes, got.Errors, want)
		}
	}
}

func TestLatencyBuckets(t *testing.T) {
	for took, bucket := range map[time.Duration]int{
		-time.Second: 0, 0: 0, 999: 0, time.Microsecond: 1, 2 * time.Microsecond: 2, 3 * time.Microsecond: 2, time.Millisecond: 10,
		time.Second: 20, time.Hour: LatencyBuckets - 1,
	} {
		var s Stats
		s.Count(KindRead, StatusGood, 1, took)
		if got := s.Snapshot(KindRead); got.Latency[bucket] != 1 || got.Took != max(took, 0) {
			t.Errorf("%s is counted in %v, and as %s", took, got.Latency, got.Took)
		}
	}
}

// TestReuse: nothing of a command's answer is left when it is used again.
func TestReuse(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	c := &Command{In: make([]byte, 4096)}
	for _, step := range []struct {
		cdb, want string
		received  int
	}{
		{"12 00 00 0060 00", "good", 96},
		{"28 00 ffffffff 00 0001 00", "5/21/00", 0},
		{"00", "good", 0},
		{"c0", "5/20/00", 0},
		{"28 00 00000000 00 0001 00", "good", 512},
	} {
		c.CDB = parseCDB(t, step.cdb)
		n.unit.Execute(t.Context(), n, c)
		if ending(c) != step.want || c.Received != step.received || (c.Status == StatusGood) != (len(c.Sense()) == 0) {
			t.Errorf("%s ended with %s, %d bytes", step.cdb, ending(c), c.Received)
		}
	}
}

// yielding lets others run between what it reads and what comes of it.
type yielding struct{ *ram }

func (y yielding) ReadAt(p []byte, off int64) (int, error) {
	n, err := y.ram.ReadAt(p, off)
	for range 20 {
		runtime.Gosched()
	}
	return n, err
}

// TestCompareAndWriteIsAtomic: many nexuses add to one number, each by comparing what it has read. Nothing is
// lost, although plain writes go on beside it.
func TestCompareAndWriteIsAtomic(t *testing.T) {
	lu := newUnit(t, Config{Device: yielding{newRAM(1 << 20)}})
	const nexuses, each = 4, 50
	var workers sync.WaitGroup
	for i := range nexuses {
		n := attach(t, lu, i)
		workers.Go(func() {
			read := &Command{CDB: parseCDB(t, "88 00 0000000000000000 00000001 00 00"), Expected: 512, In: make([]byte, 512)}
			swap := &Command{CDB: parseCDB(t, "89 00 0000000000000000 000000 01 00 00"), Expected: 1024}
			beside := &Command{CDB: parseCDB(t, "8a 00 0000000000000001 00000001 00 00"), Expected: 512, Out: [][]byte{make([]byte, 512)}}
			for done := 0; done < each; {
				lu.Execute(context.Background(), n, read)
				next := bytes.Clone(read.In)
				for at := 0; ; at++ {
					if next[at]++; next[at] != 0 {
						break
					}
				}
				swap.Out = [][]byte{read.In, next}
				lu.Execute(context.Background(), n, swap)
				lu.Execute(context.Background(), n, beside)
				if swap.Status == StatusGood {
					done++
				}
			}
		})
	}
	workers.Wait()
	r := send(t, attach(t, lu, 9), "28 00 00000000 00 0001 00").want(t, "good")
	if got := int(r.data[0]) + int(r.data[1])<<8; got != nexuses*each {
		t.Errorf("%d, want %d", got, nexuses*each)
	}
}

func TestRegions(t *testing.T) {
	var r regions
	const all = 1<<regionLocks - 1
	tests := []struct {
		off, length int64
		want        uint64
	}{
		{0, 0, 0},
		{0, 1, 1},
		{1<<20 - 1, 1, 1},
		{1<<20 - 1, 2, 3},
		{15 << 20, 1 << 20, 1 << 15},
		{15 << 20, 2 << 20, 1<<15 | 1},
		{0, 16 << 20, all},
		{0, 1 << 40, all},
		{1, 15 << 20, all},
	}
	for _, tt := range tests {
		if got := r.set(tt.off, tt.length); got != tt.want {
			t.Errorf("%d bytes at %d: %016b, want %016b", tt.length, tt.off, got, tt.want)
		}
	}
}

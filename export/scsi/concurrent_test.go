package scsi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// TestEverythingAtOnce lets nexuses come and go, reserve, preempt, write, change modes and be reset, all at
// once. It finds races and deadlocks; what may happen is checked by what can be seen at the end.
func TestEverythingAtOnce(t *testing.T) {
	disk := newRAM(1 << 20)
	lu := newUnit(t, Config{Device: disk, Thin: true, Removable: true, Reservations: &memoryStore{}, Counters: new(Stats)})
	var workers sync.WaitGroup
	for worker := range 6 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 3))
			for range 15 {
				session(t, lu, worker, random)
			}
		})
	}
	workers.Go(func() {
		for i := range 60 {
			lu.Reset(nil)
			lu.Resized(int64(1<<20 - i%2*4096))
			_ = lu.Fence(context.Background(), func(r Registration) bool { return r.Key == uint64(i%3) })
			_ = lu.Reservations()
		}
	})
	workers.Wait()
	if len(lu.nexuses) != 0 || lu.reserver != nil {
		t.Errorf("%d nexuses are left", len(lu.nexuses))
	}
	if err := lu.Reservations().check(); err != nil {
		t.Error(err)
	}
	n := attach(t, lu, 100)
	for range 3 {
		reserveOutCommand(t, n, outRegisterIgnore, 0, 0, 77).want(t, "good")
		reserveOutCommand(t, n, outClear, 0, 77, 0).want(t, "good")
	}
	if r := lu.Reservations(); len(r.Registrations) != 0 {
		t.Errorf("left are %+v", r)
	}
}

// session attaches a nexus, runs commands from two goroutines as a transport does, and detaches it. Abort
// waits for them as a transport does.
func session(t *testing.T, lu *LogicalUnit, number int, random *rand.Rand) {
	var tasks sync.Mutex
	idle := sync.NewCond(&tasks)
	running := 0
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, err := lu.Attach(NexusConfig{Initiator: initiatorPort(number), Port: testPort, Abort: func(by context.Context) {
		cancel()
		wake := context.AfterFunc(by, func() {
			tasks.Lock()
			defer tasks.Unlock()
			idle.Broadcast()
		})
		defer wake()
		tasks.Lock()
		defer tasks.Unlock()
		for running > 0 && by.Err() == nil {
			idle.Wait()
		}
	}})
	if err != nil {
		t.Error(err)
		return
	}
	cdbs := []string{
		"28 00 00000000 00 0008 00", "2a 00 00000000 00 0008 00", "89 00 0000000000000000 000000 01 00 00", "42 00 0000 0000 00 0018 00",
		"5f 06 00 0000 00000018 00", "5f 01 05 0000 00000018 00", "5f 05 05 0000 00000018 00", "5f 02 05 0000 00000018 00", "5f 00 00 0000 00000018 00",
		"5e 00 0000000000 0100 00", "5e 03 0000000000 0100 00", "16", "17", "1b 00 00 00 02 00", "1b 00 00 00 03 00", "1e 00 0000 01 00", "1e 00 0000 00 00",
		"15 10 0000 18 00", "03 00 00 00 12 00", "00", "35", "9e12 0000000000000000 00000018 00 00", "a30a 00000000 00001000 0000",
	}
	var runners sync.WaitGroup
	for range 2 {
		seed := random.Uint64()
		runners.Go(func() {
			random := rand.New(rand.NewPCG(seed, 4))
			c := &Command{In: make([]byte, 4096), Expected: 4096}
			for range 25 {
				data := make([]byte, 4096)
				binary.BigEndian.PutUint64(data, uint64(random.IntN(3)))
				binary.BigEndian.PutUint64(data[8:], uint64(random.IntN(3)))
				c.Out = [][]byte{data}
				c.CDB = parseCDB(t, cdbs[random.IntN(len(cdbs))])
				tasks.Lock()
				running++
				tasks.Unlock()
				lu.Execute(ctx, n, c)
				tasks.Lock()
				running--
				idle.Broadcast()
				tasks.Unlock()
			}
		})
	}
	runners.Wait()
	n.Detach()
}

func TestReservationsAsJSON(t *testing.T) {
	store := &memoryStore{}
	n := registered(t, newUnit(t, Config{Reservations: store}), 2)
	reserveOutCommand(t, n[0], outRegister, 0, 1, 1<<64-1).want(t, "good")
	reserveOutCommand(t, n[0], outReserve, ExclusiveAccess, 1<<64-1, 0).want(t, "good")
	text, err := json.Marshal(store.saved)
	if err != nil {
		t.Fatal(err)
	}
	var again Reservations
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(&again, store.saved) {
		t.Errorf("%s becomes %+v, %v", text, again, err)
	}
}

func TestErrorsAreLoggedOnce(t *testing.T) {
	var log strings.Builder
	disk := newRAM(1 << 20)
	n := attach(t, newUnit(t, Config{Device: disk, Log: slog.New(slog.NewTextHandler(&log, nil))}), 1)
	for range 2 {
		disk.fail = failOn("read", errTest)
		for range 100 {
			send(t, n, "28 00 00000010 00 0001 00").want(t, "3/11/00")
			send(t, n, "00").want(t, "good") // tells nothing about the device
		}
		disk.fail = nil
		for range 100 {
			send(t, n, "28 00 00000010 00 0001 00").want(t, "good")
		}
	}
	if text := log.String(); strings.Count(text, "device error") != 2 || strings.Count(text, "works again") != 2 || strings.Count(text, "lba=16") != 2 {
		t.Errorf("the log is\n%s", text)
	}
}

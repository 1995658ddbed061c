package qemu

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// limits are what a process of qemu-img may use.
type limits struct {
	addressSpace uint64        // bytes of RLIMIT_AS
	cpu          time.Duration // whole seconds of RLIMIT_CPU; 0 is no limit
}

const mib = 1 << 20

// addressSpace returns the bytes of address space for a process that copies with that many coroutines.
//
// Measured with QEMU 7.2 and MALLOC_ARENA_MAX=2 (see environment): info and check of small images fit in 64 MiB,
// convert with 8 coroutines in 128 MiB, with 16 in 256 MiB, and it reaches for some 100 MiB more each where it gets
// it. On top of that come, at most, the two L1 tables of 32 MiB and the two caches of L2 tables of 32 MiB, the
// buffers of 2 MiB of each coroutine, and QEMU's pool of threads: eight for each coroutine (a qcow2 write runs in
// eight parts), 64 in all, with a stack of 8 MiB each. What is asked for beyond it is an image's fault.
func addressSpace(coroutines int) uint64 {
	threads := min(8*coroutines, 64)
	return uint64(1024+16*coroutines+8*threads) * mib
}

// checkSpace is what qemu-img check needs besides: it counts the references to every cluster of the file in
// memory, and may hold the counters twice while their table grows.
func checkSpace(fileSize int64, clusterBits, refcountOrder uint32) uint64 {
	clusters := uint64(max(fileSize, 0)) >> clusterBits
	return min(clusters<<refcountOrder/8*2, 8192*mib)
}

// apply puts the limits, no core dump and the niceness on the running process pid. A limit that the server
// has itself, and is lower, stays.
func (l limits) apply(pid, nice int) error {
	if err := setLimit(pid, unix.RLIMIT_CORE, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := setLimit(pid, unix.RLIMIT_AS, l.addressSpace, l.addressSpace); err != nil {
		return fmt.Errorf("limit the address space: %w", err)
	}
	if l.cpu > 0 {
		// The first limit sends a signal that says why (SIGXCPU), the second kills.
		seconds := uint64(max(l.cpu/time.Second, 1))
		if err := setLimit(pid, unix.RLIMIT_CPU, seconds, seconds+1); err != nil {
			return fmt.Errorf("limit the processor time: %w", err)
		}
	}
	if nice > 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, pid, nice); err != nil {
			return fmt.Errorf("set the niceness: %w", err)
		}
	}
	return nil
}

func setLimit(pid, resource int, soft, hard uint64) error {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &old); err != nil {
		return err
	}
	hard = min(hard, old.Max)
	return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: min(soft, hard, old.Cur), Max: hard}, nil)
}

// environment is all that qemu-img gets: messages in English, which failure reads, and few arenas of the C
// library's allocator, each of which reserves 64 MiB of address space; by default there are eight per processor.
func environment() []string {
	return []string{"LC_ALL=C", "MALLOC_ARENA_MAX=2"}
}

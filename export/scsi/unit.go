package scsi

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// LogicalUnit is a disk or a CD-ROM. Its methods may be called from many goroutines at once.
type LogicalUnit struct {
	cfg      Config
	device   Device
	vector   VectorWriter // the device, if it is one
	features feature
	shift    uint // of a byte offset to a logical block address

	blocks  atomic.Uint64
	state   atomic.Uint32 // unitState
	failing atomic.Bool   // the last command that used the device failed there
	regions regions

	// change lets one PERSISTENT RESERVE OUT at a time change the registry, with its saving. It comes before mu.
	change sync.Mutex

	erasing sync.WaitGroup // sanitize operations that run beside commands

	mu       sync.Mutex
	nexuses  map[nexusKey]*Nexus
	seen     map[nexusKey]bool // nexuses that were lost, so that the next login is told
	ports    []Port
	reserver *Nexus        // holder of a reservation that RESERVE made
	registry *Reservations // replaced, never changed
}

// unitState is what commands look at without a lock.
type unitState uint32

const (
	stateEjected         unitState = 1 << iota // no medium
	stateWriteProtect                          // SWP of the control mode page
	stateWriteThrough                          // not WCE of the caching mode page
	stateDescriptorSense                       // D_SENSE of the control mode page
	stateSanitizing                            // a sanitize operation runs
	stateSanitizeFailed                        // the last one failed
)

func (lu *LogicalUnit) is(s unitState) bool { return unitState(lu.state.Load())&s != 0 }

func (lu *LogicalUnit) set(s unitState, on bool) {
	if on {
		lu.state.Or(uint32(s))
	} else {
		lu.state.And(^uint32(s))
	}
}

// New makes a logical unit and loads its reservations.
func New(ctx context.Context, cfg Config) (*LogicalUnit, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lu := &LogicalUnit{
		cfg:      cfg,
		device:   cfg.Device,
		features: cfg.features(),
		shift:    uint(bits.TrailingZeros(uint(cfg.BlockSize))),
		nexuses:  make(map[nexusKey]*Nexus),
		seen:     make(map[nexusKey]bool),
		registry: &Reservations{},
	}
	lu.vector, _ = cfg.Device.(VectorWriter)
	lu.blocks.Store(lu.blocksOf(cfg.Device.Size()))
	if cfg.Reservations != nil {
		saved, err := cfg.Reservations.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("load reservations: %w", err)
		}
		if saved != nil {
			if err := saved.check(); err != nil {
				return nil, err
			}
			lu.registry = saved.clone()
		}
	}
	return lu, nil
}

// blocksOf returns how many blocks a medium of so many bytes has. The last sector of an ISO image may be cut
// off, and is padded with zeros where it is read.
func (lu *LogicalUnit) blocksOf(size int64) uint64 {
	if lu.cfg.CDROM {
		size += cdBlockSize - 1
	}
	return uint64(max(size, 0)) >> lu.shift
}

// Resized tells the unit that the Device has a new size, in bytes. Every nexus gets CAPACITY DATA HAS CHANGED.
func (lu *LogicalUnit) Resized(size int64) {
	blocks := lu.blocksOf(size)
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.blocks.Swap(blocks) != blocks {
		lu.raiseOthers(nil, attentionCapacity)
	}
}

// Reset does what a logical unit reset does, SAM-5 section 6.3.3: mode parameters go back to their defaults,
// reservations that RESERVE made end, medium removal is allowed, and every nexus but by, which may be nil, gets
// a unit attention. The caller has aborted all tasks before. A target reset resets every unit of the target.
func (lu *LogicalUnit) Reset(by *Nexus) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	for _, n := range lu.nexuses {
		n.prevent = false
	}
	lu.reserver = nil
	lu.resetModes()
	lu.denyAll()
	lu.raiseOthers(by, attentionReset)
}

// AddPort makes a target port known that no nexus has come through yet, so that REPORT TARGET PORT GROUPS and
// registrations can name it.
func (lu *LogicalUnit) AddPort(port Port) error {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	return lu.addPort(port)
}

// RemovePort forgets a target port. Nexuses and registrations through it stay.
func (lu *LogicalUnit) RemovePort(name string) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	lu.ports = slices.DeleteFunc(lu.ports, func(p Port) bool { return p.Name == name })
}

// addPort adds a port, or checks that it is the known one. lu.mu is held.
func (lu *LogicalUnit) addPort(port Port) error {
	for _, known := range lu.ports {
		if known == port {
			return nil
		}
		if known.Name == port.Name || known.ID == port.ID {
			return fmt.Errorf("target port %q with the identifier %d is not the known %q with %d",
				port.Name, port.ID, known.Name, known.ID)
		}
	}
	lu.ports = append(lu.ports, port)
	slices.SortFunc(lu.ports, func(a, b Port) int { return int(a.ID) - int(b.ID) })
	return nil
}

// Ejected reports whether the medium is out, because an initiator said so.
func (lu *LogicalUnit) Ejected() bool { return lu.is(stateEjected) }

// Close waits for what still runs in the background. It does not close the Device.
func (lu *LogicalUnit) Close() { lu.erasing.Wait() }

// serial returns the unit serial number.
func (lu *LogicalUnit) serial() string { return hex.EncodeToString(lu.cfg.ID[:]) }

// offset returns where a block begins, in bytes.
func (lu *LogicalUnit) offset(lba uint64) int64 { return int64(lba << lu.shift) }

// bytes returns how many bytes so many blocks have.
func (lu *LogicalUnit) bytes(blocks uint64) int64 { return int64(blocks << lu.shift) }

// writeProtection returns why n may not change the medium, or good.
func (lu *LogicalUnit) writeProtection(n *Nexus) answer {
	switch {
	case lu.cfg.ReadOnly || n.cfg.ReadOnly:
		return check(DataProtect, WriteProtected)
	case lu.is(stateWriteProtect):
		return check(DataProtect, SoftwareWriteProtected)
	}
	return good
}

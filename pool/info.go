package pool

import (
	"slices"

	"elstore/volume"
)

// Info is what there is to know of a pool at one moment.
type Info struct {
	Name   string  `json:"name"`
	Path   string  `json:"path"` // absolute
	Valid  bool    `json:"valid"`
	Reason string  `json:"reason,omitempty"`  // why new volumes are not put here
	HeldBy *Holder `json:"held_by,omitempty"` // the server that has it, if that is why

	FileSystem string          `json:"file_system,omitempty"` // such as ext4
	Unique     bool            `json:"unique"`                // every volume is a subvolume or dataset of its own
	Shared     bool            `json:"shared"`                // other servers use it too
	Ceph       bool            `json:"ceph"`                  // images lie on a cluster
	Reflink    bool            `json:"reflink"`               // copies share blocks
	Formats    []volume.Format `json:"formats"`

	Limits   InfoLimits `json:"limits"`
	Used     InfoUse    `json:"used"`     // of all servers; with the bin
	Reserved InfoUse    `json:"reserved"` // by operations under way, of all servers
	Bin      InfoBin    `json:"bin"`
	Free     *int64     `json:"free_bytes"`    // of the file system; nil if it has no bounds or doesn't say
	Reserve  int64      `json:"reserve_bytes"` // of the file system, left alone
}

// InfoLimits are the limits of a pool, nil where there is none.
type InfoLimits struct {
	Volumes    *int64 `json:"max_volumes"`
	VolumeSize *int64 `json:"max_volume_size"` // bytes
	TotalSize  *int64 `json:"max_total_size"`  // bytes
}

// InfoUse is what counts against the limits.
type InfoUse struct {
	Volumes int64 `json:"volumes"`
	Bytes   int64 `json:"bytes"` // virtual, with those of base images
	Base    int64 `json:"base"`  // of these, in base images that this server knows
}

// InfoBin is what lies in a pool's bin, as far as this server knows.
type InfoBin struct {
	Volumes   int    `json:"volumes"`
	Bytes     int64  `json:"bytes"`     // virtual
	Retention string `json:"retention"` // how long volumes are kept, as a duration of Go's
	Keep      bool   `json:"keep"`      // even when their room is needed
}

// Infos describes all pools, valid or not, in the order of their names.
func (s *Set) Infos() []Info {
	s.mu.Lock()
	pools := slices.Clone(s.pools)
	s.mu.Unlock()
	list := make([]Info, 0, len(pools))
	for _, p := range pools {
		list = append(list, p.Info())
	}
	return list
}

// NotPools returns the directories that look like pools and are none, with the reasons, in the order of their paths.
func (s *Set) NotPools() []NotPool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]NotPool{}, s.notPools...)
}

// Info describes the pool.
func (p *Pool) Info() Info {
	p.set.mu.Lock()
	inUse, storage := p.phase == attached, p.storage
	p.set.mu.Unlock()
	var free *int64
	if inUse && !p.ceph { // asked without the lock, since it may have to wait
		if r, err := storage.ask(); err == nil {
			free = limit(r.free)
		}
	}
	p.set.mu.Lock()
	defer p.set.mu.Unlock()
	s := p.settings
	reserved := p.reserved.plus(p.othersReserved)
	used := p.used()
	i := Info{
		Name: p.name, Path: p.path, Valid: p.valid(), Reason: p.why(),
		Unique: s.Unique, Shared: s.Shared, Ceph: p.ceph, Reflink: p.caps.Reflink, Formats: append([]volume.Format{}, p.caps.Formats...),
		Limits:   InfoLimits{limit(s.Limits.Volumes), limit(s.Limits.VolumeSize), limit(s.Limits.TotalSize)},
		Used:     InfoUse{Volumes: used.Volumes, Bytes: used.Bytes, Base: p.base},
		Reserved: InfoUse{Volumes: reserved.Volumes, Bytes: reserved.Bytes},
		Bin:      InfoBin{Volumes: p.use.BinVolumes, Bytes: p.use.BinBytes, Retention: s.BinRetention.String(), Keep: s.BinKeep},
		Free:     free, Reserve: s.Reserve,
	}
	if p.heldBy != (Holder{}) {
		by := p.heldBy
		i.HeldBy = &by
	}
	if p.storage != nil {
		i.FileSystem = p.storage.kind
	}
	return i
}

// limit returns nil for Unlimited.
func limit(n int64) *int64 {
	if n == Unlimited {
		return nil
	}
	return &n
}

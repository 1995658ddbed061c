package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
)

// Pool is a directory that volumes are kept in, or one that looks so and is none, without a name. Sizes are in
// bytes. As JSON it is just as it came.
type Pool struct {
	Name       string     `json:"name"`
	Path       string     `json:"path"`
	Valid      bool       `json:"valid"`
	Reason     string     `json:"reason"` // why new volumes are not put here
	FileSystem string     `json:"file_system"`
	Unique     bool       `json:"unique"` // every volume is a subvolume or dataset of its own
	Shared     bool       `json:"shared"` // other servers use it too
	Ceph       bool       `json:"ceph"`
	Reflink    bool       `json:"reflink"` // copies share blocks
	Formats    []string   `json:"formats"`
	Limits     PoolLimits `json:"limits"`
	Used       PoolUse    `json:"used"` // with the bin
	Reserved   PoolUse    `json:"reserved"`
	Bin        PoolBin    `json:"bin"`
	Free       *int64     `json:"free_bytes"` // of the file system; nil where it doesn't say
	Reserve    int64      `json:"reserve_bytes"`

	raw json.RawMessage
}

// PoolLimits are the limits of a pool, nil where there is none.
type PoolLimits struct {
	Volumes    *int64 `json:"max_volumes"`
	VolumeSize *int64 `json:"max_volume_size"`
	TotalSize  *int64 `json:"max_total_size"`
}

// PoolUse is what counts against the limits.
type PoolUse struct {
	Volumes int64 `json:"volumes"`
	Bytes   int64 `json:"bytes"` // virtual, with base images
}

// PoolBin is what was destroyed and can be restored.
type PoolBin struct {
	Volumes   int64  `json:"volumes"`
	Bytes     int64  `json:"bytes"`     // virtual
	Retention string `json:"retention"` // as a duration of Go's
	Keep      bool   `json:"keep"`      // even when the room is needed
}

// UnmarshalJSON reads a pool.
func (p *Pool) UnmarshalJSON(data []byte) error {
	type plain Pool
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return err
	}
	p.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (p Pool) MarshalJSON() ([]byte, error) {
	if p.raw != nil {
		return p.raw, nil
	}
	type plain Pool
	return json.Marshal(plain(p))
}

// Pools lists the pools, and after them the directories that look like one and are none.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	return fetch[[]Pool](ctx, c, get("/pools"))
}

// Pool returns one pool.
func (c *Client) Pool(ctx context.Context, name string) (Pool, error) {
	return fetch[Pool](ctx, c, get("/pools/"+url.PathEscape(name)))
}

// Refreshed is what a look at a pool's directory brought.
type Refreshed struct {
	Name string `json:"name"`
	Came int    `json:"came"` // volumes that somebody else put there
	Went int    `json:"went"` // volumes that somebody else took away
}

// RefreshPools makes the server look at what stands in a pool now, or for "" in all of them, and for pools that
// came and went.
func (c *Client) RefreshPools(ctx context.Context, name string) ([]Refreshed, error) {
	body := map[string]string{}
	if name != "" {
		body["name"] = name
	}
	cl := post("/pools/refresh", body)
	cl.long = true
	return fetch[[]Refreshed](ctx, c, cl)
}

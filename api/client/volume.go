package client

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"maps"
)

// Volume is a volume's record. One that came from the server is written as JSON just as it came, with keys that
// this package doesn't know.
type Volume struct {
	ID          string   `json:"volumeID"`
	Creator     string   `json:"creatorID"`
	Size        int64    `json:"size"` // virtual, in bytes
	Name        string   `json:"name"`
	Format      string   `json:"format"`
	Private     bool     `json:"private"`
	Bootable    bool     `json:"bootable"`
	ReadOnly    bool     `json:"readonly"`
	Shareable   bool     `json:"shareable"`
	Clonable    bool     `json:"clonable"`
	Alg         string   `json:"alg"`
	Bus         string   `json:"bus"`
	CloudInit   bool     `json:"cloudinit"`
	Ceph        bool     `json:"ceph"`
	Exported    bool     `json:"exported"`
	SizeOnDisk  int64    `json:"sizeOnDisk"`  // bytes of storage taken
	LastUpdated string   `json:"lastUpdated"` // 2006-01-02 15:04:05.0000 in UTC
	ISOType     string   `json:"iso_type,omitempty"`
	Pool        string   `json:"pool"`
	Locked      bool     `json:"locked"`
	Operation   string   `json:"operation,omitempty"` // what holds the lock
	Exports     []string `json:"exports"`             // what uses it
	Available   bool     `json:"available"`           // its pool is there
	Overlay     bool     `json:"overlay"`             // its image needs a base image of the pool
	Trashed     string   `json:"trashed,omitempty"`   // when it was put in the bin, like LastUpdated

	raw json.RawMessage
}

// UnmarshalJSON reads a record.
func (v *Volume) UnmarshalJSON(data []byte) error {
	type plain Volume
	if err := json.Unmarshal(data, (*plain)(v)); err != nil {
		return err
	}
	v.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (v Volume) MarshalJSON() ([]byte, error) {
	if v.raw != nil {
		return v.raw, nil
	}
	type plain Volume
	return json.Marshal(plain(v))
}

// Info returns a volume's record.
func (c *Client) Info(ctx context.Context, id string) (Volume, error) {
	return fetch[Volume](ctx, c, post("/info", map[string]string{"volume_id": id}))
}

// Has reports whether a volume is there.
func (c *Client) Has(ctx context.Context, id string) (bool, error) {
	v, err := fetch[struct {
		Has bool `json:"has"`
	}](ctx, c, post("/has", map[string]string{"volume_id": id}))
	return v.Has, err
}

// AccessibleRequest says which volumes to list.
type AccessibleRequest struct {
	Client string         // who asks: sees its own and those that are not private
	Limit  int            // at most so many; 0 is all
	After  string         // only ids after this one; "" is from the first
	Filter map[string]any // attributes by their key in a record, which must be equal
}

// Accessible lists the volumes that a client may see, in the order of their ids.
func (c *Client) Accessible(ctx context.Context, r AccessibleRequest) ([]Volume, error) {
	return fetch[[]Volume](ctx, c, post("/accessible", r.body()))
}

func (r AccessibleRequest) body() map[string]any {
	body := maps.Clone(r.Filter)
	if body == nil {
		body = map[string]any{}
	}
	body["client_uid"] = r.Client
	if r.Limit > 0 {
		body["limit"] = r.Limit
	}
	if r.After != "" {
		body["after"] = r.After
	}
	return body
}

// pageSize is how many volumes All asks for at once.
const pageSize = 1000

// All lists like Accessible, a page at a time, so that no answer is too large. It ends with the first error.
// The list as a whole need not be as it was at one moment.
func (c *Client) All(ctx context.Context, r AccessibleRequest) iter.Seq2[Volume, error] {
	return func(yield func(Volume, error) bool) {
		left := r.Limit
		for {
			page := r
			page.Limit = pageSize
			if r.Limit > 0 {
				page.Limit = min(left, pageSize)
			}
			list, err := c.Accessible(ctx, page)
			if err != nil {
				yield(Volume{}, err)
				return
			}
			for _, v := range list {
				if !yield(v, nil) {
					return
				}
			}
			left -= len(list)
			// A server that gives ids out of order would be asked for ever.
			if len(list) < page.Limit || r.Limit > 0 && left <= 0 || list[len(list)-1].ID <= r.After {
				return
			}
			r.After = list[len(list)-1].ID
		}
	}
}

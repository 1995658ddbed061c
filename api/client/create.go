package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
)

// Attributes are what a new volume can be told to be. Nil and "" leave it to the server, whose defaults are not
// private, read-only, shareable or bootable, clonable, alg cp, format raw, bus virtio.
type Attributes struct {
	Private       *bool  `json:"private,omitempty"`
	ReadOnly      *bool  `json:"readonly,omitempty"`
	Shareable     *bool  `json:"shareable,omitempty"`
	Bootable      *bool  `json:"bootable,omitempty"`
	Clonable      *bool  `json:"clonable,omitempty"`
	Alg           string `json:"alg,omitempty"`    // cp, rclone, rsync or no
	Format        string `json:"format,omitempty"` // raw, qcow2 or rbd
	Bus           string `json:"bus,omitempty"`    // virtio, scsi, sata or ide
	Pool          string `json:"pool,omitempty"`   // "" is the best one
	Preallocation string `json:"preallocation,omitempty"`
}

// CreateRequest says what volume is to be made.
type CreateRequest struct {
	Creator string `json:"creatorID"`
	Name    string `json:"name"`
	Size    Size   `json:"size,omitzero"` // 0 only with URL: as large as the image
	Attributes
	URL      string `json:"url,omitempty"`           // what the server fetches into it
	Checksum string `json:"checksum,omitempty"`      // what that sums up to, such as sha256:…
	Source   string `json:"source_format,omitempty"` // of what URL names; "" is what the image itself tells

	Key string `json:"-"` // Idempotency-Key: the same call with the same key makes nothing twice. "" is a new one
}

// Created is what the server said of a volume that it made. As JSON it is just as it came.
type Created struct {
	ID      string `json:"vid"`
	Creator string `json:"creatorID"`
	Name    string `json:"name"`
	Format  string `json:"img_format"`
	Pool    string `json:"pool"`

	raw json.RawMessage
}

// UnmarshalJSON reads an answer.
func (v *Created) UnmarshalJSON(data []byte) error {
	type plain Created
	if err := json.Unmarshal(data, (*plain)(v)); err != nil {
		return err
	}
	v.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (v Created) MarshalJSON() ([]byte, error) {
	if v.raw != nil {
		return v.raw, nil
	}
	type plain Created
	return json.Marshal(plain(v))
}

// Create makes a volume, empty or with the image that URL names.
func (c *Client) Create(ctx context.Context, r CreateRequest) (*Operation[Created], error) {
	path := "/create"
	if r.URL != "" {
		path = "/create/url"
	}
	return begin[Created](ctx, c, path, r, orKey(r.Key))
}

// CreateMany makes all of the volumes or none. The answer has their order. key is an Idempotency-Key, "" a new one.
func (c *Client) CreateMany(ctx context.Context, list []CreateRequest, key string) (*Operation[[]Created], error) {
	return begin[[]Created](ctx, c, "/create/multiple", list, orKey(key))
}

// CanCreate returns how many pools could take the volume, 0 for none. Only its size must be given.
func (c *Client) CanCreate(ctx context.Context, r CreateRequest) (int, error) {
	body, err := sizeOnly(r)
	if err != nil {
		return 0, err
	}
	return fetch[int](ctx, c, post("/cancreate", body))
}

// CanCreateMany reports whether all of the volumes fit together.
func (c *Client) CanCreateMany(ctx context.Context, list []CreateRequest) (bool, error) {
	bodies := make([]map[string]json.RawMessage, len(list))
	for i, r := range list {
		var err error
		if bodies[i], err = sizeOnly(r); err != nil {
			return false, err
		}
	}
	n, err := fetch[int](ctx, c, post("/cancreate/multiple", bodies))
	return n > 0, err
}

// sizeOnly leaves out a creator and name that were not given: these calls do without.
func sizeOnly(r CreateRequest) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, err
	}
	for _, key := range []string{"creatorID", "name"} {
		if string(body[key]) == `""` {
			delete(body, key)
		}
	}
	return body, nil
}

// CloneRequest says what a clone is to be. Nil and "" are as the source has it.
type CloneRequest struct {
	ID      string `json:"volume_id"` // the source
	Creator string `json:"creatorID"` // of the clone
	Name    string `json:"name"`
	Private *bool  `json:"private,omitempty"`
	Alg     string `json:"alg,omitempty"`
	Pool    string `json:"pool,omitempty"` // "" is the best one

	Key string `json:"-"` // Idempotency-Key; "" is a new one
}

// Clone makes a volume with the content that another one has now.
func (c *Client) Clone(ctx context.Context, r CloneRequest) (*Operation[Created], error) {
	return begin[Created](ctx, c, "/clone", r, orKey(r.Key))
}

// ImportRequest says what image is to become a volume: one of Path and URL.
type ImportRequest struct {
	Creator string `json:"creatorID"`
	Name    string `json:"name"`
	Attributes
	Path     string `json:"path,omitempty"` // of a file on the server, under a directory that it allows
	URL      string `json:"url,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	Source   string `json:"source_format,omitempty"` // of the image; "" is what it tells itself
	Overlay  bool   `json:"overlay,omitempty"`       // keep the image as the volume's immutable base in the pool

	Key string `json:"-"` // Idempotency-Key; "" is a new one
}

// Import makes a volume of an image.
func (c *Client) Import(ctx context.Context, r ImportRequest) (*Operation[Created], error) {
	if (r.Path == "") == (r.URL == "") {
		return nil, errors.New("an import needs either the path of a file on the server or a URL")
	}
	return begin[Created](ctx, c, "/import", r, orKey(r.Key))
}

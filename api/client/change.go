package client

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
)

// Echo is the answer of a call that changes a volume: the request's keys as the server took them. As JSON it is
// just as it came.
type Echo struct {
	ID string `json:"vid"`

	raw json.RawMessage
}

// UnmarshalJSON reads an answer.
func (e *Echo) UnmarshalJSON(data []byte) error {
	type plain Echo
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (e Echo) MarshalJSON() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	type plain Echo
	return json.Marshal(plain(e))
}

// Update changes attributes: name, private, readonly, shareable, bootable, clonable, alg and bus, and keys of the
// caller's own that the server keeps with the volume. by is the owner.
func (c *Client) Update(ctx context.Context, id, by string, changes map[string]any) (Echo, error) {
	body := maps.Clone(changes)
	if body == nil {
		body = map[string]any{}
	}
	body["vid"], body["creatorID"] = id, by
	return fetch[Echo](ctx, c, post("/update", body))
}

// ResizeRequest says how large a volume is to be.
type ResizeRequest struct {
	ID            string `json:"vid"`
	Creator       string `json:"creatorID"` // the owner
	Size          Size   `json:"size"`
	Shrink        bool   `json:"shrink,omitempty"` // a smaller size is meant: what lies beyond is lost
	Preallocation string `json:"preallocation,omitempty"`
}

// Resize makes a volume larger, or with Shrink smaller.
func (c *Client) Resize(ctx context.Context, r ResizeRequest) (*Operation[Echo], error) {
	return begin[Echo](ctx, c, "/update/resize", r, "")
}

// Convert changes a volume's format to raw, qcow2 or rbd. by is the owner.
func (c *Client) Convert(ctx context.Context, id, by, format string) (*Operation[Echo], error) {
	return begin[Echo](ctx, c, "/update/convert", map[string]string{"vid": id, "creatorID": by, "format": format}, "")
}

// Compact makes an overlay volume stand alone. by is the owner.
func (c *Client) Compact(ctx context.Context, id, by string) (*Operation[Echo], error) {
	return begin[Echo](ctx, c, "/overlay/compact", map[string]string{"vid": id, "creatorID": by}, "")
}

// Transfer gives a volume to another owner. by is the present one.
func (c *Client) Transfer(ctx context.Context, id, by, to string) (Echo, error) {
	body := map[string]string{"vid": id, "creatorID": by, "newCreatorID": to}
	return fetch[Echo](ctx, c, post("/update/transfer", body))
}

// DestroyRequest says which volume is to go.
type DestroyRequest struct {
	ID      string `json:"volume_id"`
	Creator string `json:"creatorID,omitempty"` // the owner; "" where no access control asks who it is
	Purge   bool   `json:"purge,omitempty"`     // for good, not into the pool's bin
}

// Destroy puts a volume into its pool's bin, or removes it for good. One that is not there is destroyed already.
func (c *Client) Destroy(ctx context.Context, r DestroyRequest) (Echo, error) {
	cl := post("/destroy", r)
	cl.long = true // taking away a large file may take a while
	return fetch[Echo](ctx, c, cl)
}

package client

import "context"

// Trash lists the volumes in the pools' bins that a client may see, the oldest first. client is "" for all.
func (c *Client) Trash(ctx context.Context, client string) ([]Volume, error) {
	body := map[string]string{}
	if client != "" {
		body["client_uid"] = client
	}
	return fetch[[]Volume](ctx, c, post("/trash", body))
}

// Restore brings a volume back from its pool's bin. One that stands in its pool is restored already. by is the
// owner, or "" where no access control asks who it is.
func (c *Client) Restore(ctx context.Context, id, by string) (Volume, error) {
	body := map[string]string{"volume_id": id}
	if by != "" {
		body["creatorID"] = by
	}
	return fetch[Volume](ctx, c, post("/trash/restore", body))
}

// Emptied is what emptying a bin brought.
type Emptied struct {
	Purged int `json:"purged"` // volumes that are gone
}

// EmptyTrash removes what lies in a pool's bin for good, or in all bins for pool "". client restricts that to its
// own volumes, unless it is "".
func (c *Client) EmptyTrash(ctx context.Context, pool, client string) (Emptied, error) {
	body := map[string]string{}
	if pool != "" {
		body["pool"] = pool
	}
	if client != "" {
		body["client_uid"] = client
	}
	cl := post("/trash/empty", body)
	cl.long = true
	return fetch[Emptied](ctx, c, cl)
}

package client

import (
	"context"
	"encoding/json"
)

// CreateOnCeph makes a volume whose image lies on a Ceph cluster.
func (c *Client) CreateOnCeph(ctx context.Context, r CreateRequest) (*Operation[Created], error) {
	return begin[Created](ctx, c, "/ceph/create", r, orKey(r.Key))
}

// CephCredentials are what a hypervisor needs to open an image on a Ceph cluster itself. They have a secret.
type CephCredentials struct {
	Volume   string          `json:"volume_id"`
	Client   string          `json:"client_uid"`
	Cluster  string          `json:"cluster"`
	Monitors []string        `json:"monitors"` // host:port
	Pool     string          `json:"ceph_pool"`
	Image    string          `json:"image"`
	User     string          `json:"user"` // without "client."
	Key      string          `json:"key"`
	Conf     string          `json:"conf"`     // a ceph.conf
	Keyring  string          `json:"keyring"`  // a keyring
	URI      string          `json:"uri"`      // QEMU's, where those are files
	Object   json.RawMessage `json:"object"`   // QEMU's -object
	Blockdev json.RawMessage `json:"blockdev"` // QEMU's -blockdev
}

// CephCredentials lets a client open a volume's image itself. The same call again has the same answer.
func (c *Client) CephCredentials(ctx context.Context, volume, client string) (CephCredentials, error) {
	return fetch[CephCredentials](ctx, c, post("/ceph/credentials", map[string]string{"volume_id": volume, "client_uid": client}))
}

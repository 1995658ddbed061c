package client

import (
	"bytes"
	"context"
	"encoding/json"
)

// ExportRequest says who is to attach which volume, and how. What is nil or empty is as the server has it.
type ExportRequest struct {
	Volume    string   `json:"volume_id"`
	Client    string   `json:"client_uid"`
	Type      string   `json:"type,omitempty"`
	Initiator string   `json:"initiator,omitempty"` // the only one that may log in
	ReadOnly  *bool    `json:"readonly,omitempty"`
	Multipath *bool    `json:"multipath,omitempty"`
	Portals   []string `json:"portals,omitempty"` // those that the answer is to name
	Rotate    bool     `json:"rotate,omitempty"`  // a new secret
	Path      bool     `json:"path,omitempty"`    // the image's own path, with type local

	Takeover     bool `json:"takeover,omitempty"`        // from a server that is gone
	OldHostIsOff bool `json:"old_host_is_off,omitempty"` // the caller's word for that

	ReadMB    *float64 `json:"read_MB_bw,omitempty"` // 10^6 bytes per second; 0 is no limit
	WriteMB   *float64 `json:"write_MB_bw,omitempty"`
	ReadIOPS  *float64 `json:"read_iops,omitempty"`
	WriteIOPS *float64 `json:"write_iops,omitempty"`
}

// Export is an attachment and all that is needed to use it. It has secrets. As JSON it is just as it came.
type Export struct {
	Volume     string          `json:"volume_id"`
	Client     string          `json:"client_uid"`
	Type       string          `json:"type"`
	Attachment string          `json:"attachment_id"`
	Epoch      int64           `json:"epoch"`
	Since      string          `json:"since"` // RFC 3339
	ReadOnly   bool            `json:"readonly"`
	Multipath  bool            `json:"multipath"`
	Initiator  string          `json:"initiator,omitempty"`
	URI        string          `json:"uri"`
	Target     string          `json:"target,omitempty"`
	Portals    []string        `json:"portals,omitempty"`
	LUN        *int            `json:"lun,omitempty"`
	User       string          `json:"user,omitempty"`
	Secret     string          `json:"secret,omitempty"`
	PeerUser   string          `json:"peer_user,omitempty"`
	PeerSecret string          `json:"peer_secret,omitempty"`
	Socket     string          `json:"socket,omitempty"`
	Path       string          `json:"path,omitempty"`
	Object     json.RawMessage `json:"object,omitempty"`   // QEMU's -object
	Blockdev   json.RawMessage `json:"blockdev,omitempty"` // QEMU's -blockdev
	TLS        *Credentials    `json:"tls,omitempty"`      // of type nbd: what the client proves itself by
	Keys       []string        `json:"keys,omitempty"`     // commands that write them
	ISCSIAdm   []string        `json:"iscsiadm,omitempty"` // commands
	Libvirt    *Libvirt        `json:"libvirt,omitempty"`

	raw json.RawMessage
}

// Credentials are files, as PEM, that QEMU looks for in Dir.
type Credentials struct {
	Dir         string `json:"dir"`
	Authority   string `json:"ca-cert.pem"`
	Certificate string `json:"client-cert.pem"`
	Key         string `json:"client-key.pem"`
}

// Libvirt is XML for libvirt: a disk, and the secret that it needs.
type Libvirt struct {
	Disk   string `json:"disk"`
	Secret string `json:"secret,omitempty"`
}

// UnmarshalJSON reads an answer.
func (e *Export) UnmarshalJSON(data []byte) error {
	type plain Export
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (e Export) MarshalJSON() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	type plain Export
	return json.Marshal(plain(e))
}

// Export lets a client attach a volume. The same request again has the same answer.
func (c *Client) Export(ctx context.Context, r ExportRequest) (Export, error) {
	cl := post("/export", r)
	cl.long = r.Takeover
	return fetch[Export](ctx, c, cl)
}

// UnexportRequest says which exports end.
type UnexportRequest struct {
	Volume string `json:"volume_id"`
	Client string `json:"client_uid"`
	Type   string `json:"type,omitempty"` // only of this type
	IfIdle bool   `json:"if_idle,omitempty"`
}

// Unexport ends a client's exports of a volume. What is not there has ended already.
func (c *Client) Unexport(ctx context.Context, r UnexportRequest) error {
	cl := post("/unexport", r)
	cl.long = true // until the last request that was under way has ended
	_, err := c.roundTrip(ctx, cl)
	return err
}

// ExportInfo is an attachment as lists show it. As JSON it is just as it came.
type ExportInfo struct {
	Volume     string          `json:"volume_id"`
	Client     string          `json:"client_uid"`
	Type       string          `json:"type"`
	Attachment string          `json:"attachment_id"`
	Epoch      int64           `json:"epoch"`
	Since      string          `json:"since"`
	ReadOnly   bool            `json:"readonly"`
	Multipath  bool            `json:"multipath"`
	Initiator  string          `json:"initiator"`
	Migration  string          `json:"migration_id"`
	Pool       string          `json:"pool"`
	Target     string          `json:"target"`
	Portals    []string        `json:"portals"`
	State      string          `json:"state"` // standing, or fencing: it has ended, and requests that were under way have not yet
	Sessions   []ExportSession `json:"sessions"`
	Heartbeat  string          `json:"heartbeat"`
	Reads      uint64          `json:"read_operations"`
	ReadBytes  uint64          `json:"read_bytes"`
	Writes     uint64          `json:"write_operations"`
	WriteBytes uint64          `json:"write_bytes"`
	Errors     uint64          `json:"errors"`
	ReadTime   int64           `json:"read_time_us"` // microseconds that reads took, added up
	WriteTime  int64           `json:"write_time_us"`

	raw json.RawMessage
}

// ExportSession is somebody who is logged in.
type ExportSession struct {
	Initiator string `json:"initiator"`
	Alias     string `json:"alias"`
	Name      string `json:"name"`
	Remote    string `json:"remote"`
	Since     string `json:"since"`
}

// UnmarshalJSON reads an entry of the list.
func (e *ExportInfo) UnmarshalJSON(data []byte) error {
	type plain ExportInfo
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (e ExportInfo) MarshalJSON() ([]byte, error) {
	if e.raw != nil {
		return e.raw, nil
	}
	type plain ExportInfo
	return json.Marshal(plain(e))
}

// Exports lists what is exported: to a client, or to all for "", and of a volume, or of all for "".
func (c *Client) Exports(ctx context.Context, client, volume string) ([]ExportInfo, error) {
	body := map[string]string{}
	if client != "" {
		body["client_uid"] = client
	}
	if volume != "" {
		body["volume_id"] = volume
	}
	return fetch[[]ExportInfo](ctx, c, post("/exports", body))
}

// Orphan is something about exports that disagrees with something else.
type Orphan struct {
	Volume  string `json:"volume_id"`
	Problem string `json:"problem"`
}

// Orphans lists what disagrees: records, markers and what stands.
func (c *Client) Orphans(ctx context.Context) ([]Orphan, error) {
	return fetch[[]Orphan](ctx, c, post("/exports", map[string]bool{"orphans": true}))
}

package volume

import "time"

// Volume is what the Service knows of a volume at one moment. A value: it does not change afterwards.
type Volume struct {
	ID   ID
	Meta Meta
	Pool string

	ISOType   string    // for ISO volumes
	Locked    string    // the purpose of the operation that holds it, or ""
	Exports   []string  // what uses it, see Claim
	Available bool      // its pool is there
	Trashed   time.Time // when it was put in the bin; zero if it stands in its pool
	Problem   error     // why it can't be used, or nil

	OnDisk      int64     // bytes of storage taken
	LastUpdated time.Time // when its image or attributes last changed
	Modified    time.Time // when its image last changed; zero where the storage was not asked
}

// Visible reports whether client may see the volume at all. A nil client is somebody who did not say who they are.
func (v *Volume) Visible(client *Client) bool {
	return !v.Meta.Private || client == nil || *client == v.Meta.Creator
}

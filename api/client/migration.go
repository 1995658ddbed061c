package client

import (
	"bytes"
	"context"
	"encoding/json"
)

// MigrationParty is one of the two hosts of a migration.
type MigrationParty struct {
	Client    string `json:"client_uid,omitempty"`
	Initiator string `json:"initiator,omitempty"` // the only one that may log in
	Host      string `json:"host,omitempty"`      // for people
}

// PrepareRequest says which volumes are to move, and where. What is empty is as the server has it.
type PrepareRequest struct {
	Volumes     []string       `json:"volume_ids"`
	Client      string         `json:"client_uid"`
	Source      MigrationParty `json:"source,omitzero"`
	Destination MigrationParty `json:"destination"`
	Timeout     float64        `json:"timeout,omitempty"` // seconds
}

// Migration is a live migration. As JSON it is just as it came.
type Migration struct {
	ID          string            `json:"migration_id"`
	State       string            `json:"state"`
	Pen         string            `json:"pen"`       // the side that may change the volumes
	PenAsked    bool              `json:"pen_asked"` // the other one has asked for that, and gets it when its server answers
	Owner       string            `json:"owner"`     // the side that has them in the end
	Source      MigrationParty    `json:"source"`
	Destination MigrationParty    `json:"destination"`
	Began       string            `json:"began"`
	Deadline    string            `json:"deadline"`
	Ended       string            `json:"ended"`
	Alarm       string            `json:"alarm"`        // what somebody has to look after
	Waiting     string            `json:"waiting"`      // why it is not over yet
	Here        string            `json:"here"`         // of one between two servers: the side that attaches through this one
	OtherServer string            `json:"other_server"` // its id
	OtherHost   string            `json:"other_host"`   // that it runs on, for people
	Volumes     []MigrationVolume `json:"volumes"`

	raw json.RawMessage
}

// Over reports whether nothing of the other side is left.
func (m *Migration) Over() bool { return m.State == "STABLE" }

// MigrationVolume is a volume that migrates; in the answer to Prepare with all that its destination needs, secrets too.
type MigrationVolume struct {
	Export
	Sessions []ExportSession
}

// UnmarshalJSON reads both parts.
func (v *MigrationVolume) UnmarshalJSON(data []byte) error {
	var more struct {
		Sessions []ExportSession `json:"sessions"`
	}
	if err := json.Unmarshal(data, &more); err != nil {
		return err
	}
	v.Sessions = more.Sessions
	return json.Unmarshal(data, &v.Export)
}

// UnmarshalJSON reads an answer.
func (m *Migration) UnmarshalJSON(data []byte) error {
	type plain Migration
	if err := json.Unmarshal(data, (*plain)(m)); err != nil {
		return err
	}
	m.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (m Migration) MarshalJSON() ([]byte, error) {
	if m.raw != nil {
		return m.raw, nil
	}
	type plain Migration
	return json.Marshal(plain(m))
}

// Prepare lets a second host attach the volumes of a machine. The same request again has the same answer.
func (c *Client) Prepare(ctx context.Context, r PrepareRequest) (Migration, error) {
	return fetch[Migration](ctx, c, post("/livemigration/prepare", r))
}

// Conclude says that the machine runs on the destination; force also where that is not logged in to all volumes. The migration may
// go on after the answer: see Over.
func (c *Client) Conclude(ctx context.Context, id string, force bool) (Migration, error) {
	return c.decide(ctx, "conclude", map[string]any{"migration_id": id, "force": force})
}

// Revert says that the machine stays on the source; assertSourceRunning also where the destination has written. Otherwise as Conclude.
func (c *Client) Revert(ctx context.Context, id string, assertSourceRunning bool) (Migration, error) {
	return c.decide(ctx, "revert", map[string]any{"migration_id": id, "assert_source_running": assertSourceRunning})
}

// Resolve says of a migration that needs an operator on which side the machine runs: source or destination. Otherwise as Conclude.
func (c *Client) Resolve(ctx context.Context, id, owner string) (Migration, error) {
	return c.decide(ctx, "resolve", map[string]any{"migration_id": id, "owner": owner})
}

func (c *Client) decide(ctx context.Context, what string, body map[string]any) (Migration, error) {
	cl := post("/livemigration/"+what, body)
	cl.long = true // until the last request that was under way has ended
	return fetch[Migration](ctx, c, cl)
}

// Migrations lists the live migrations, those of a client or with "" all.
func (c *Client) Migrations(ctx context.Context, client string) ([]Migration, error) {
	path := "/livemigration"
	if client != "" {
		path += "?client_uid=" + client
	}
	return fetch[[]Migration](ctx, c, get(path))
}

// Migration returns a live migration.
func (c *Client) Migration(ctx context.Context, id string) (Migration, error) {
	return fetch[Migration](ctx, c, get("/livemigration/"+id))
}

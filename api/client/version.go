package client

import (
	"bytes"
	"context"
	"encoding/json"
)

// ServerVersion says what server it is. As JSON it is just as it came.
type ServerVersion struct {
	Version string   `json:"version"`
	APIs    []string `json:"api_versions"`

	raw json.RawMessage
}

// UnmarshalJSON reads an answer.
func (v *ServerVersion) UnmarshalJSON(data []byte) error {
	type plain ServerVersion
	if err := json.Unmarshal(data, (*plain)(v)); err != nil {
		return err
	}
	v.raw = bytes.Clone(data)
	return nil
}

// MarshalJSON writes what the server said.
func (v ServerVersion) MarshalJSON() ([]byte, error) {
	if v.raw != nil {
		return v.raw, nil
	}
	type plain ServerVersion
	return json.Marshal(plain(v))
}

// Version asks the server which one it is.
func (c *Client) Version(ctx context.Context) (ServerVersion, error) {
	return fetch[ServerVersion](ctx, c, get("/version"))
}

package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
)

// MachineRequest says what volume is to be made of a cloud image.
type MachineRequest struct {
	Creator string `json:"creatorID"`
	Name    string `json:"name"`
	Size    Size   `json:"size,omitzero"` // 0: as large as the image
	Attributes
	URL      string          `json:"url,omitempty"`
	Checksum string          `json:"checksum,omitempty"` // "": one that stands beside the image
	Source   string          `json:"source_format,omitempty"`
	Overlay  bool            `json:"overlay,omitempty"` // an overlay of the image, which the pool keeps
	Seed     json.RawMessage `json:"seed,omitempty"`    // the short form of a seed, made with it

	Key string `json:"-"` // Idempotency-Key; "" is a new one
}

// CreateMachine makes the volume that a machine boots from.
func (c *Client) CreateMachine(ctx context.Context, r MachineRequest) (*Operation[Created], error) {
	return begin[Created](ctx, c, "/cloudinit/create", r, orKey(r.Key))
}

// SeedRequest says what seed is to be made of files that come one by one.
type SeedRequest struct {
	Creator  string `json:"creatorID"`
	Name     string `json:"name"`
	Private  *bool  `json:"private,omitempty"`
	Clonable *bool  `json:"clonable,omitempty"`
	Pool     string `json:"pool,omitempty"`
	Expected int    `json:"expectedFiles"` // 2 or more
}

// SeedFile is a file of a seed.
type SeedFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Seed is the state of a seed.
type Seed struct {
	ID       string     `json:"vid"`
	Expected int        `json:"expectedFiles"`
	Missing  int        `json:"missing"`  // files that are still to come
	Complete bool       `json:"complete"` // it can be exported
	Instance string     `json:"instance_id"`
	Size     int64      `json:"size"` // of the image in bytes
	Exports  []string   `json:"exports"`
	Files    []SeedFile `json:"files"`
}

// BeginSeed makes the volume of a seed with the first of its files.
func (c *Client) BeginSeed(ctx context.Context, r SeedRequest, name string, data []byte) (Seed, error) {
	return c.sendSeedFile(ctx, r, name, data)
}

// AddSeedFile sends one more file of a seed. by is the owner, or "".
func (c *Client) AddSeedFile(ctx context.Context, id, by, name string, data []byte) (Seed, error) {
	document := map[string]string{"vid": id}
	if by != "" {
		document["creatorID"] = by
	}
	return c.sendSeedFile(ctx, document, name, data)
}

func (c *Client) sendSeedFile(ctx context.Context, document any, name string, data []byte) (Seed, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return Seed{}, err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", mime.FormatMediaType("form-data", map[string]string{"name": "file", "filename": name}))
	h.Set("Content-Type", "application/octet-stream")
	part, err := form.CreatePart(h)
	if err != nil {
		return Seed{}, err
	}
	if _, err := part.Write(data); err != nil {
		return Seed{}, err
	}
	if err := form.Close(); err != nil {
		return Seed{}, err
	}
	return fetch[Seed](ctx, c, call{
		method: http.MethodPost, path: "/cloudinit/metadata/" + base64.RawURLEncoding.EncodeToString(text), raw: body.Bytes(),
		kind: form.FormDataContentType(), key: newKey(), long: true,
	})
}

func seedPath(id, name string, q url.Values) string {
	path := "/cloudinit/" + url.PathEscape(id)
	if name != "" {
		path += "/files/" + url.PathEscape(name)
	}
	return withQuery(path, q)
}

// Seed returns the state of a seed.
func (c *Client) Seed(ctx context.Context, id, by string) (Seed, error) {
	return fetch[Seed](ctx, c, get(seedPath(id, "", asking(by))))
}

// SeedFile returns a file of a seed as it came.
func (c *Client) SeedFile(ctx context.Context, id, by, name string) ([]byte, error) {
	if name == "" {
		return nil, fmt.Errorf("the name of the file is missing")
	}
	a, err := c.roundTrip(ctx, get(seedPath(id, name, asking(by))))
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// PutSeedFile changes a file of a complete seed, or adds one.
func (c *Client) PutSeedFile(ctx context.Context, id, by, name string, data []byte) (Seed, error) {
	if data == nil {
		data = []byte{}
	}
	return fetch[Seed](ctx, c, call{
		method: http.MethodPut, path: seedPath(id, name, asking(by)), raw: data, kind: "application/octet-stream", long: true,
	})
}

// DeleteSeedFile removes a file of a complete seed.
func (c *Client) DeleteSeedFile(ctx context.Context, id, by, name string) (Seed, error) {
	return fetch[Seed](ctx, c, call{method: http.MethodDelete, path: seedPath(id, name, asking(by)), long: true})
}

// RenderRequest is the short form of a seed, and what is to become of it.
type RenderRequest struct {
	Seed    json.RawMessage `json:"seed"`
	Creator string          `json:"creatorID,omitempty"` // with Name: a volume is made
	Name    string          `json:"name,omitempty"`
	Pool    string          `json:"pool,omitempty"`
	DryRun  bool            `json:"dry_run,omitempty"`
}

// Rendered are the files of a seed.
type Rendered struct {
	Files map[string]string `json:"files,omitempty"` // where no volume was made
	ID    string            `json:"vid,omitempty"`   // of the volume that was made
	Name  string            `json:"name,omitempty"`
	Pool  string            `json:"pool,omitempty"`
}

// Render makes the files of a seed of its short form, and with a name a volume of them.
func (c *Client) Render(ctx context.Context, r RenderRequest) (Rendered, error) {
	cl := post("/cloudinit/render", r)
	cl.key, cl.long = newKey(), true
	return fetch[Rendered](ctx, c, cl)
}

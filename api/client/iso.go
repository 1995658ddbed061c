package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// ISORequest says what ISO volume is to be made. What is nil or "" is left to the server, which guesses the system from the image.
type ISORequest struct {
	Creator   string `json:"creatorID"`
	Name      string `json:"name"`
	Type      string `json:"isotype"` // os_generic or tool
	Private   *bool  `json:"private,omitempty"`
	Clonable  *bool  `json:"clonable,omitempty"`
	Alg       string `json:"alg,omitempty"` // cp, rclone, rsync or no
	OSFamily  string `json:"os_family,omitempty"`
	OSFlavour string `json:"os_flavour,omitempty"`
	OSVersion string `json:"os_version,omitempty"`
	Scope     string `json:"tool_scope,omitempty"`
	Version   string `json:"tool_version,omitempty"`
	Pool      string `json:"pool,omitempty"`
	Size      Size   `json:"size,omitzero"`      // of a volume whose image comes later
	URL       string `json:"url,omitempty"`      // what the server fetches
	Path      string `json:"path,omitempty"`     // a file on the server
	Checksum  string `json:"checksum,omitempty"` // what the image sums up to, such as sha256:…

	Key string `json:"-"` // Idempotency-Key; "" is a new one
}

// CreateISO makes an ISO volume of what URL or Path names. Without either it waits for its image: see Upload.
func (c *Client) CreateISO(ctx context.Context, r ISORequest) (*Operation[Created], error) {
	return begin[Created](ctx, c, "/iso/create", r, orKey(r.Key))
}

// ISOFile is a file in an ISO image.
type ISOFile struct {
	Path string `json:"path"`
	Type string `json:"type"` // file, dir or link
	Size int64  `json:"size"`
	Link string `json:"link,omitempty"` // where a symbolic link leads
}

// ISOBoot is an entry of the image's boot catalog.
type ISOBoot struct {
	Platform  string `json:"platform"` // bios, uefi, ppc, mac or other
	Bootable  bool   `json:"bootable"`
	Emulation string `json:"emulation"`
	Offset    int64  `json:"offset"` // in bytes
	Size      int64  `json:"size"`   // in bytes
}

// ISOImage is what an ISO image says of itself, and the files in one of its directories.
type ISOImage struct {
	ID          string    `json:"vid"`
	Label       string    `json:"label"`
	Application string    `json:"application"`
	Publisher   string    `json:"publisher"`
	Size        int64     `json:"size"`
	RockRidge   bool      `json:"rock_ridge"`
	Joliet      bool      `json:"joliet"`
	UDF         bool      `json:"udf"`
	Boot        []ISOBoot `json:"boot"`
	Path        string    `json:"path"`
	Files       []ISOFile `json:"files"`
}

// isoPath is where a file of an ISO volume is; "" is the root.
func isoPath(id, name string, q url.Values) string {
	var path strings.Builder
	path.WriteString("/iso/" + url.PathEscape(id) + "/files")
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part != "" {
			path.WriteString("/" + url.PathEscape(part))
		}
	}
	return withQuery(path.String(), q)
}

func withQuery(path string, q url.Values) string {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// asking is the query that says who asks; by may be "".
func asking(by string) url.Values {
	q := url.Values{}
	if by != "" {
		q.Set("creatorID", by)
	}
	return q
}

// ISOFiles returns what is in a directory of an ISO volume's image, "" is the root, and with deep all that is below it.
func (c *Client) ISOFiles(ctx context.Context, id, by, dir string, deep bool) (ISOImage, error) {
	q := asking(by)
	q.Set("recursive", fmt.Sprint(deep))
	cl := get(isoPath(id, dir, q))
	a, err := c.roundTrip(ctx, cl)
	if err != nil {
		return ISOImage{}, err
	}
	if kind := a.header.Get("Content-Type"); kind != "application/json" {
		return ISOImage{}, fmt.Errorf("%q is a file, not a directory", dir)
	}
	return decode[ISOImage](a.body)
}

// ISOFileTo writes a file of an ISO volume's image to w and returns its length.
func (c *Client) ISOFileTo(ctx context.Context, id, by, name string, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+isoPath(id, name, asking(by)), nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "application/json" {
		return 0, fmt.Errorf("%q is a directory, not a file", name)
	}
	n, err := io.Copy(w, resp.Body)
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

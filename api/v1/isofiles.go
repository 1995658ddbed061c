package v1

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"elstore/api/rest"
	"elstore/iso"
	"elstore/volume"
)

// isoFile is a file in an ISO image.
type isoFile struct {
	Path string `json:"path"` // from the image's root, without a slash in front
	Type string `json:"type"` // file, dir or link
	Size int64  `json:"size"`
	Link string `json:"link,omitempty"` // where a symbolic link leads
}

// isoListing is what is in a directory of an ISO image, and what the image is.
type isoListing struct {
	ID          volume.ID  `json:"vid"`
	Label       string     `json:"label"`
	Application string     `json:"application"`
	Publisher   string     `json:"publisher"`
	Size        int64      `json:"size"` // of the volume in the image, in bytes
	RockRidge   bool       `json:"rock_ridge"`
	Joliet      bool       `json:"joliet"`
	UDF         bool       `json:"udf"`
	Boot        []iso.Boot `json:"boot"`
	Path        string     `json:"path"`
	Files       []isoFile  `json:"files"`
}

// isoFilesQuery says who asks, and whether all that is below a directory is listed or what is directly in it.
type isoFilesQuery struct {
	asker
	Recursive *bool `json:"recursive"` // default true
}

// isoFiles lists a directory of an ISO image, or sends a file out of it.
func (a *API) isoFiles(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return err
	}
	name, err := url.PathUnescape(r.PathValue("path"))
	if err != nil {
		return rest.NoSuchPath(r.URL.EscapedPath(), base)
	}
	q, err := rest.DecodeQuery[isoFilesQuery](r)
	if err != nil {
		return err
	}
	c, err := a.cfg.ISO.Open(r.Context(), id, q.Who)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Image.UDF && name == "" { // what has a UDF file system only is described without its files
		return a.listISO(w, r, c, iso.File{Dir: true}, or(q.Recursive, true))
	}
	f, content, err := c.File(r.Context(), name)
	switch {
	case err != nil:
		return err
	case f.Dir:
		return a.listISO(w, r, c, f, or(q.Recursive, true))
	}
	return sendISOFile(w, r, c, f, content)
}

func (a *API) listISO(w http.ResponseWriter, r *http.Request, c *iso.Content, dir iso.File, deep bool) error {
	list := isoListing{
		ID: c.Volume.ID, Label: c.Image.Label, Application: c.Image.Application, Publisher: c.Image.Publisher, Size: c.Image.Size,
		RockRidge: c.Image.RockRidge, Joliet: c.Image.Joliet, UDF: c.Image.UDF, Boot: c.Image.Boot, Path: dir.Path, Files: []isoFile{},
	}
	if list.Boot == nil {
		list.Boot = []iso.Boot{}
	}
	err := c.Image.Below(r.Context(), dir, deep, func(f iso.File) error {
		kind := "file"
		switch {
		case f.Dir:
			kind = "dir"
		case f.IsLink():
			kind = "link"
		}
		list.Files = append(list.Files, isoFile{f.Path, kind, f.Size, f.Link})
		return nil
	})
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, list)
}

// sendISOFile sends a file, or ranges of it.
func sendISOFile(w http.ResponseWriter, r *http.Request, c *iso.Content, f iso.File, content io.ReadSeeker) error {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x-%x-%x", c.Tag(), f.Offset(), f.Size)))
	catch := &catcher{ResponseWriter: w}
	http.ServeContent(catch, r, "", time.Time{}, content)
	return catch.refusal(f.Size)
}

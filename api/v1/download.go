package v1

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// downloadFormat is what an image can be downloaded as; "" is what it is.
type downloadFormat volume.Format

// Allowed lists the formats for an error message.
func (downloadFormat) Allowed() string { return "raw or qcow2, or none for the volume's own" }

// UnmarshalText accepts raw and qcow2.
func (f *downloadFormat) UnmarshalText(text []byte) error {
	if v := volume.Format(text); v == volume.Raw || v == volume.QCOW2 {
		*f = downloadFormat(v)
		return nil
	}
	return fault.Errorf(fault.UnsupportedFormat, "format %.64q is not allowed: use %s", text, f.Allowed())
}

// download sends an image, or ranges of it.
func (a *API) download(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return err
	}
	q, err := rest.DecodeQuery[struct {
		asker
		Format downloadFormat `json:"format"`
	}](r)
	if err != nil {
		return err
	}
	d, err := a.cfg.Volumes.Download(r.Context(), id, q.Who, volume.Format(q.Format), nil)
	if err != nil {
		return err
	}
	defer d.Close()
	describe(w.Header(), &d.Volume, d.Format)
	w.Header().Set("Content-Disposition", disposition(d.Volume.Meta.Name, d.Format))
	w.Header().Set("ETag", tagOf(d))
	// Without a modification time: it counts seconds, and a machine writes more often.
	c := &catcher{ResponseWriter: w}
	http.ServeContent(c, r, "", time.Time{}, d.File)
	return c.refusal(d.Size)
}

// dataHead tells what the image is and how much of an upload is there.
func (a *API) dataHead(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return err
	}
	q, err := rest.DecodeQuery[asker](r)
	if err != nil {
		return err
	}
	v, err := a.cfg.Volumes.Get(r.Context(), id, q.Who)
	if err != nil {
		return err
	}
	received, err := a.cfg.Volumes.Uploaded(r.Context(), id, nil)
	if err != nil {
		return err
	}
	describe(w.Header(), &v, v.Meta.Format)
	w.Header().Set(uploadOffset, strconv.FormatInt(received, 10))
	w.WriteHeader(http.StatusOK)
	return nil
}

// describe sets what is said of an image beside its bytes.
func describe(h http.Header, v *volume.Volume, format volume.Format) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Accept-Ranges", "bytes")
	h.Set("Volume-Format", string(format))
	h.Set("Volume-Size", strconv.FormatInt(v.Meta.Size, 10))
}

// disposition names the file that a browser makes of the download.
func disposition(name string, format volume.Format) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, name)
	return mime.FormatMediaType("attachment", map[string]string{"filename": name + "." + format.Ext()})
}

// tagOf is the ETag of a download (RFC 9110 section 8.8.3). It is strong, so that a download can be resumed, unless the same
// state of the volume can give other bytes: a machine writes to it, or QEMU makes a qcow2 for the download.
func tagOf(d *volume.Download) string {
	tag := fmt.Sprintf("%q", fmt.Sprintf("%x-%x-%s", d.Volume.Modified.UnixNano(), d.Size, d.Format))
	if m := d.Volume.Meta; len(d.Volume.Exports) > 0 || d.Volume.Modified.IsZero() || d.Format == volume.QCOW2 && (m.Format != volume.QCOW2 || m.Base != "") {
		return "W/" + tag
	}
	return tag
}

// catcher keeps the refusals of http.ServeContent, which are not JSON, from the client.
type catcher struct {
	http.ResponseWriter
	refused int
}

func (c *catcher) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		c.refused = status
		return
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *catcher) Write(p []byte) (int, error) {
	if c.refused != 0 {
		return len(p), nil
	}
	return c.ResponseWriter.Write(p)
}

// ReadFrom lets a file go out by sendfile.
func (c *catcher) ReadFrom(src io.Reader) (int64, error) { return io.Copy(c.ResponseWriter, src) }

// refusal is the error for what http.ServeContent refused.
func (c *catcher) refusal(size int64) error {
	switch c.refused {
	case 0:
		return nil
	case http.StatusRequestedRangeNotSatisfiable:
		return fault.Errorf(fault.UploadInvalidRange, "the Range header is malformed or beyond the image's %d bytes", size)
	case http.StatusPreconditionFailed:
		return fault.Errorf(fault.ConditionFailed, "the image is not the one that If-Match names")
	}
	return fmt.Errorf("serve image: status %d", c.refused)
}

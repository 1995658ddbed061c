package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// DownloadRequest says what image is wanted.
type DownloadRequest struct {
	ID     string
	By     string // who asks; "" where no access control asks who it is
	Format string // "" is the one that the volume has
	Bytes  Bytes  // may be nil
}

// errChanged says that the rest of what was begun can't be had any more.
var errChanged = errors.New("the volume changed while it was downloaded; begin again")

// sink takes a download in.
type sink interface {
	io.Writer
	// keep is told by which tag the image can be asked for again, before its first byte comes.
	keep(tag string) error
	// restart forgets what was written, since the download begins anew. It fails where that can't be.
	restart() error
	// finish ends the download; what was written must be of the digest.
	finish(ctx context.Context, d digest) error
}

// DownloadTo writes a volume's image, as it is at one moment, to w and returns its length. Where the line breaks
// it goes on, if the image is still the same. The size is always checked, the digest where the server tells one. What w got
// of a download that failed is worthless.
func (c *Client) DownloadTo(ctx context.Context, r DownloadRequest, w io.Writer) (int64, error) {
	d := &download{c: c, r: r, to: &stream{w: w, sum: sha256.New()}, tries: c.patience()}
	err := d.run(ctx)
	return d.offset, err
}

// download is one that is under way.
type download struct {
	c      *Client
	r      DownloadRequest
	to     sink
	tag    string // the strong ETag of what is downloaded; "": it can't be told whether the rest is of the same
	offset int64  // bytes that are in the sink
	total  int64  // of the image; -1 where the server doesn't say
	sum    digest
	tries  *backoff
}

// run downloads until all is there.
func (d *download) run(ctx context.Context) error {
	for {
		before := d.offset
		done, err := d.part(ctx)
		switch {
		case done:
			return d.to.finish(ctx, d.sum)
		case err == nil:
			continue
		}
		if d.offset > before {
			d.tries.progress()
		}
		if broken(err) || passing(err) {
			err = d.tries.again(ctx, err)
		}
		if err != nil {
			return err
		}
	}
}

// part asks for what is missing and takes in what comes. done says that nothing is missing any more.
func (d *download) part(ctx context.Context) (done bool, err error) {
	req, err := d.request(ctx)
	if err != nil {
		return false, err
	}
	resp, err := d.c.send(req)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusRequestedRangeNotSatisfiable && d.offset > 0 {
			return false, d.anew() // what is there already is more than the image
		}
		return false, err
	}
	defer resp.Body.Close()
	if err := d.begin(resp); err != nil {
		return false, err
	}
	buf := make([]byte, 256<<10)
	for {
		n, rerr := resp.Body.Read(buf)
		if n > 0 {
			if d.total >= 0 && d.offset+int64(n) > d.total {
				return false, fmt.Errorf("the server sent more than the %d bytes that it announced", d.total)
			}
			if _, err := d.to.Write(buf[:n]); err != nil {
				return false, err
			}
			d.offset += int64(n)
			if d.r.Bytes != nil {
				d.r.Bytes(d.offset, d.total)
			}
		}
		switch {
		case ctx.Err() != nil:
			return false, gaveUp(ctx)
		case rerr == nil:
		case !errors.Is(rerr, io.EOF):
			return false, d.c.lineError(ctx, rerr)
		case d.total >= 0 && d.offset < d.total:
			return false, d.c.unreachable(io.ErrUnexpectedEOF)
		default:
			return true, nil
		}
	}
}

// request asks for the image from the offset on.
func (d *download) request(ctx context.Context) (*http.Request, error) {
	q := url.Values{}
	if d.r.By != "" {
		q.Set("client_uid", d.r.By)
	}
	if d.r.Format != "" {
		q.Set("format", d.r.Format)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.c.base+dataPath(d.r.ID, q), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Want-Repr-Digest", "sha-256=10") // RFC 9530 section 4
	if d.offset > 0 && d.tag != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		req.Header.Set("If-Range", d.tag)
	}
	return req, nil
}

// begin looks at what the server is about to send.
func (d *download) begin(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		first, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != d.offset {
			return fmt.Errorf("the server sent the range %q where byte %d was to come", excerpt([]byte(resp.Header.Get("Content-Range"))), d.offset)
		}
		d.total = total
	} else {
		if err := d.anew(); err != nil {
			return err
		}
		d.total = resp.ContentLength
	}
	if sum := reprDigest(resp.Header.Get("Repr-Digest")); sum != "" {
		d.sum = sum
	}
	tag := resp.Header.Get("ETag")
	if strings.HasPrefix(tag, "W/") { // a weak one does not promise the same bytes
		tag = ""
	}
	if tag == d.tag {
		return nil
	}
	d.tag = tag
	return d.to.keep(tag)
}

// anew begins from the first byte.
func (d *download) anew() error {
	if d.offset > 0 {
		if err := d.to.restart(); err != nil {
			return err
		}
	}
	d.offset, d.sum = 0, ""
	return nil
}

// contentRange reads "bytes first-last/total".
func contentRange(s string) (first, total int64, ok bool) {
	span, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, whole, ok := strings.Cut(span, "/")
	if !ok {
		return 0, 0, false
	}
	from, to, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total, err3 := strconv.ParseInt(whole, 10, 64)
	return first, total, err1 == nil && err2 == nil && err3 == nil && 0 <= first && first <= last && last < total
}

// stream passes a download on, and can't take back what it did.
type stream struct {
	w   io.Writer
	sum hash.Hash
}

func (s *stream) Write(p []byte) (int, error) {
	s.sum.Write(p)
	return s.w.Write(p)
}

func (s *stream) keep(string) error { return nil }

func (s *stream) restart() error { return errChanged }

func (s *stream) finish(_ context.Context, d digest) error { return d.check(s.sum.Sum(nil)) }

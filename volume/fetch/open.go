package fetch

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"elstore/volume/fault"
)

// maxRedirects is how many redirects in a row are followed.
const maxRedirects = 10

// Open asks for the content at rawURL from offset on. The server may be unable to skip: Body.Offset says where
// the content really begins. It returns once the header and, from offset 0, the first 512 bytes have come.
//
// Errors are faults: FetchForbidden for a URL, redirect or address that may not be fetched, FetchFailed for
// everything that goes wrong beyond, with a sentence that says what. A ctx that ends also ends the Body.
func (c *Client) Open(ctx context.Context, rawURL string, offset int64) (Body, error) {
	return c.open(ctx, rawURL, offset, "")
}

// open is Open; a validator that is not "" makes the server begin at 0 if the content is another than it was.
func (c *Client) open(ctx context.Context, rawURL string, offset int64, validator string) (Body, error) {
	u, err := c.config.parse(rawURL)
	if err != nil {
		return Body{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.get(ctx, u, offset, validator)
	if err != nil {
		cancel(nil)
		return Body{}, err
	}
	b, err := c.body(resp, offset)
	if err == nil {
		guarded := c.guard(ctx, cancel, resp.Body, b)
		b.ReadCloser = guarded
		var content io.Reader
		if content, err = refusesPages(b); err == nil {
			b.ReadCloser = struct {
				io.Reader
				io.Closer
			}{content, guarded}
			return b, nil
		}
	}
	cancel(nil)
	_ = resp.Body.Close()
	return Body{}, err
}

// get sends the request and follows redirects, each of which is checked as the first URL was.
func (c *Client) get(ctx context.Context, u *url.URL, offset int64, validator string) (*http.Response, error) {
	for range maxRedirects + 1 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, fault.Errorf(fault.FetchForbidden, "the URL is malformed; allowed is http://host/path or https://host/path")
		}
		req.Header.Set("User-Agent", c.config.UserAgent)
		req.Header.Set("Accept-Encoding", "identity")
		if offset > 0 {
			req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
			if validator != "" {
				req.Header.Set("If-Range", validator)
			}
		}
		if u.User != nil {
			password, _ := u.User.Password()
			req.SetBasicAuth(u.User.Username(), password)
		}
		// The transport itself: http.Client repeats a Location that it can't parse in its error, and sends a
		// Referer whose query may be a secret.
		resp, err := c.transport.RoundTrip(req)
		if err != nil {
			return nil, lineError(context.Cause(ctx), err, redacted(u), "can't be fetched")
		}
		next, err := c.redirect(u, resp)
		if err != nil || next == nil {
			return resp, err
		}
		u = next
	}
	return nil, fault.Errorf(fault.FetchFailed, "%s is the end of more than %d redirects", redacted(u), maxRedirects)
}

// redirect returns where resp, the answer of u, leads on to, nil if it is no redirect. It closes the body of one.
func (c *Client) redirect(u *url.URL, resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	_ = resp.Body.Close()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return nil, fault.Errorf(fault.FetchFailed, "%s redirects to nowhere", redacted(u))
	}
	next := u.ResolveReference(to)
	if next.Host == u.Host && next.Scheme == u.Scheme {
		next.User = u.User
	}
	if err := c.config.allowed(next); err != nil {
		known, _ := errors.AsType[*fault.Error](err)
		return nil, fault.Errorf(fault.FetchForbidden, "%s redirects away: %w", redacted(u), known)
	}
	return next, nil
}

// body reads what resp's header says of the content. The body is left to be read and closed.
func (c *Client) body(resp *http.Response, offset int64) (Body, error) {
	b := Body{
		URL:         redacted(resp.Request.URL),
		Size:        resp.ContentLength,
		Validator:   validatorOf(resp.Header),
		ContentType: resp.Header.Get("Content-Type"),
	}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusPartialContent && offset > 0:
		first, total, ok := rangeOf(resp)
		if !ok || first != offset {
			return Body{}, &resumeError{fault.Errorf(fault.FetchFailed, "%s was asked to go on at byte %d and answered with another range", b.URL, offset)}
		}
		b.Offset, b.Size = first, total
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		return Body{}, &resumeError{fault.Errorf(fault.FetchFailed, "%s has no byte %d to go on at", b.URL, offset)}
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return Body{}, fault.Errorf(fault.FetchFailed, "%s answered with status %d where content is expected", b.URL, resp.StatusCode)
	default:
		return Body{}, statusError(resp, b.URL)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return Body{}, fault.Errorf(fault.FetchFailed, "%s comes with the Content-Encoding %q, which was not asked for", b.URL, shorten(e))
	}
	if b.Size > c.config.MaxBytes {
		return Body{}, tooLarge(b.URL, c.config.MaxBytes)
	}
	return b, nil
}

// rangeOf reads a 206's Content-Range: the first byte and the size of the whole, -1 unknown. It must reach to
// the end of the content, as was asked, and agree with the Content-Length.
func rangeOf(resp *http.Response) (first, total int64, ok bool) {
	span, found := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes ")
	span, whole, cut := strings.Cut(span, "/")
	from, to, cut2 := strings.Cut(span, "-")
	if !found || !cut || !cut2 {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err != nil || err2 != nil || first < 0 || last < first {
		return 0, 0, false
	}
	if resp.ContentLength >= 0 && resp.ContentLength != last-first+1 {
		return 0, 0, false
	}
	if whole == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return first, total, err == nil && last == total-1
}

// validatorOf returns what proves by If-Range that content is the same (RFC 9110 section 13.1.5): a strong ETag,
// or a Last-Modified that is older than the answer (section 8.8.2.2).
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" {
		if strings.HasPrefix(tag, `"`) {
			return tag
		}
		return "" // a weak one: RFC 9110 forbids to fall back to the date
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	date, err2 := http.ParseTime(h.Get("Date"))
	if err != nil || err2 != nil || date.Sub(modified) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

func isHTML(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "text/html" || kind == "application/xhtml+xml")
}

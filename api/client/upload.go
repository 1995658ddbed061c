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

	"elstore/volume/fault"
)

// pieceSize is how much of an image is sent at once, in bytes, if the caller says nothing.
const pieceSize = 64 << 20

// Bytes is told how much of a transfer is done, in bytes; never by two goroutines at once. done falls where a part
// has to be sent again. total is -1 where it is not known.
type Bytes func(done, total int64)

// UploadRequest says what image is to replace a volume's content.
type UploadRequest struct {
	ID      string
	By      string // the volume's owner; "" where no access control asks who it is
	Source  io.ReaderAt
	Size    int64  // of the image file in bytes
	Format  string // of the image file; "" is raw
	Piece   int64  // bytes that are sent at once; 0 is 64 MiB
	Restart bool   // send everything, also what arrived in an earlier try
	Bytes   Bytes  // may be nil
	Job     Progress
}

// Upload sends an image in pieces, with the SHA-256 of the whole, and returns when the server has checked it and
// put it in place of the volume's content, in one moment. What arrived in an earlier try is not sent again; where the line
// breaks it goes on with what did not arrive. Source must not change meanwhile.
func (c *Client) Upload(ctx context.Context, r UploadRequest) error {
	if r.Size <= 0 {
		return errors.New("the image is empty; there is nothing to upload")
	}
	if r.Piece <= 0 {
		r.Piece = pieceSize
	}
	u := &upload{c: c, r: r, sum: sha256.New(), tries: c.patience()}
	if err := u.begin(ctx); err != nil {
		return err
	}
	again := u.offset > 0 // what is there may be of another image: then the digest is wrong, once
	for !u.done {
		err := u.piece(ctx)
		switch {
		case err == nil:
			u.tries.progress()
		case broken(err) || passing(err) || fault.Is(err, fault.UploadOffset):
			err = u.resume(ctx, err)
		}
		if again && fault.Is(err, fault.ChecksumMismatch) {
			again, u.offset, err = false, 0, nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// upload is one that is under way.
type upload struct {
	c      *Client
	r      UploadRequest
	offset int64     // where the next piece begins: the server has what is before it
	sum    hash.Hash // of the first hashed bytes
	hashed int64
	tries  *backoff
	last   bool            // the last piece was sent
	old    map[string]bool // jobs of earlier uploads
	done   bool
}

// path is where the volume's data is.
func (u *upload) path() string {
	q := url.Values{}
	if u.r.By != "" {
		q.Set("creatorID", u.r.By)
	}
	if u.r.Format != "" {
		q.Set("format", u.r.Format)
	}
	return dataPath(u.r.ID, q)
}

func dataPath(id string, q url.Values) string {
	path := "/volumes/" + url.PathEscape(id) + "/data"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// piece sends the next piece.
func (u *upload) piece(ctx context.Context) error {
	end := min(u.offset+u.r.Piece, u.r.Size)
	if err := u.hash(ctx, end); err != nil {
		return err
	}
	body := &counted{r: io.NewSectionReader(u.r.Source, u.offset, end-u.offset), done: u.offset, total: u.r.Size, tell: u.r.Bytes}
	defer func() { _ = body.stop() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.c.base+u.path(), io.NopCloser(body))
	if err != nil {
		return err
	}
	req.ContentLength = end - u.offset
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", u.offset, end-1, u.r.Size))
	req.Header.Set("Expect", "100-continue") // a refusal comes before the piece is sent
	if u.last = end == u.r.Size; u.last {
		req.Header.Set("Repr-Digest", newDigest(u.sum.Sum(nil)).header())
		req.Header.Set("Prefer", "respond-async")
	}
	resp, err := u.c.send(req)
	if err != nil {
		if cause := body.stop(); cause != nil { // the image can't be read, which is no fault of the line
			return cause
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody)) // so that the connection can be used again
	u.offset, u.done = end, u.last
	if u.last && resp.StatusCode == http.StatusAccepted {
		return u.wait(ctx, resp.Header)
	}
	return nil
}

// wait waits until the server has taken the image over.
func (u *upload) wait(ctx context.Context, h http.Header) error {
	id, err := jobOf(h)
	if err != nil {
		return err
	}
	job, err := u.c.WaitJob(ctx, id, u.r.Job)
	if err != nil {
		return err
	}
	if err := job.Err(); err != nil {
		u.done = false
		return err
	}
	return nil
}

// hash brings the sum to at least the first end bytes of the image.
func (u *upload) hash(ctx context.Context, end int64) error {
	const step = 4 << 20
	for u.hashed < end {
		if ctx.Err() != nil {
			return gaveUp(ctx)
		}
		n, err := io.Copy(u.sum, io.NewSectionReader(u.r.Source, u.hashed, min(step, end-u.hashed)))
		u.hashed += n
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read the image at byte %d: %w", u.hashed, err)
		}
	}
	return nil
}

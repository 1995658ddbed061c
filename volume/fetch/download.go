package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"elstore/volume/fault"
)

// File is where a download goes: *os.File is one.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// Result is what a download brought.
type Result struct {
	Bytes       int64
	SHA256      [sha256.Size]byte
	ContentType string // as the server says, "" if it doesn't
}

// chunk is how much is hashed and written at once. Chunks of zeros are left out, so that the file stays sparse.
const chunk = 64 << 10

// enough is the gain after which a break doesn't count against Config.Tries.
const enough = 1 << 20

// Download fetches the content at rawURL into file, whose old content it drops. The file is not synced, and on
// an error it holds a part that is good for nothing.
//
// When the line breaks or stalls it goes on where it stopped, if the server can and the content is provably the
// same, else from the beginning; Config bounds how often. After each chunk it calls progress, if that is not nil,
// with the bytes that are there and those of the whole, -1 unknown; done falls back when it begins again. Every
// hash of hashes is fed the content as well, beginning from its reset state.
//
// Errors are those of Open, those of file's methods by fault.FromOS, and the cause of ctx's end.
func (c *Client) Download(ctx context.Context, rawURL string, file File, progress func(done, total int64), hashes ...hash.Hash) (Result, error) {
	d := &download{file: file, sum: sha256.New(), hashes: hashes, progress: progress, total: -1, buffer: make([]byte, chunk)}
	broke := 0
	for {
		before := d.done
		err := c.try(ctx, rawURL, d)
		if err == nil {
			return d.result(), nil
		}
		b, again := errors.AsType[*broken](err)
		if !again {
			return Result{}, err
		}
		if d.done-before >= enough {
			broke = 0
		}
		broke++
		// A server that can't even be reached at first is a mistake in the URL more often than a weak line.
		if broke >= c.config.Tries || b.dial && !d.begun {
			return Result{}, b.err
		}
		wait := min(c.config.Backoff<<min(broke-1, 10), maxBackoff)
		if err := sleep(ctx, max(wait, min(b.after, maxRetryAfter))); err != nil {
			return Result{}, fmt.Errorf("fetch %s: %w", Redact(rawURL), err)
		}
	}
}

// maxRetryAfter is how long a server can make us wait.
const maxRetryAfter = 2 * time.Minute

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// download is what is there so far.
type download struct {
	file        File
	sum         hash.Hash
	hashes      []hash.Hash
	progress    func(done, total int64)
	buffer      []byte
	begun       bool // a server has answered with content
	done, total int64
	validator   string // of the content that the first done bytes are of
	contentType string
}

// try fetches what is missing.
func (c *Client) try(ctx context.Context, rawURL string, d *download) error {
	body, err := c.proceed(ctx, rawURL, d)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if body.Offset == 0 {
		if err := d.restart(body); err != nil {
			return err
		}
	}
	return d.copy(body)
}

// proceed opens the content where d stopped, or at 0 where that can't be or isn't the same content.
func (c *Client) proceed(ctx context.Context, rawURL string, d *download) (Body, error) {
	if d.done > 0 && d.validator != "" {
		body, err := c.open(ctx, rawURL, d.done, d.validator)
		_, cant := errors.AsType[*resumeError](err)
		switch {
		case err == nil && (body.Offset == 0 || d.continuedBy(body)):
			return body, nil
		case err == nil:
			_ = body.Close()
		case !cant:
			return Body{}, err
		}
	}
	return c.open(ctx, rawURL, 0, "")
}

// continuedBy reports whether nothing in body's header says that it is of other content.
func (d *download) continuedBy(body Body) bool {
	return (body.Size < 0 || d.total < 0 || body.Size == d.total) && (body.Validator == "" || body.Validator == d.validator)
}

// restart drops what is there; body begins at 0.
func (d *download) restart(body Body) error {
	if err := d.file.Truncate(0); err != nil {
		return fault.FromOS("empty the download's file", err)
	}
	d.sum.Reset()
	for _, h := range d.hashes {
		h.Reset()
	}
	d.begun, d.done, d.total = true, 0, body.Size
	d.validator, d.contentType = body.Validator, body.ContentType
	return nil
}

// copy takes in body to its end.
func (d *download) copy(body Body) error {
	for {
		n, err := io.ReadFull(body, d.buffer[:chunk-d.done%chunk])
		if writeErr := d.write(d.buffer[:n]); writeErr != nil {
			return writeErr
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return d.finish(body)
		default:
			return err
		}
	}
}

var zeros [chunk]byte

func (d *download) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if !bytes.Equal(p, zeros[:len(p)]) {
		if _, err := d.file.WriteAt(p, d.done); err != nil {
			return fault.FromOS("write the download's file", err)
		}
	}
	_, _ = d.sum.Write(p) // a hash never fails
	for _, h := range d.hashes {
		_, _ = h.Write(p)
	}
	d.done += int64(len(p))
	if d.progress != nil {
		d.progress(d.done, d.total)
	}
	return nil
}

// finish checks the length and gives the file its size, which zeros at the end have not.
func (d *download) finish(body Body) error {
	if d.total >= 0 && d.done != d.total {
		return &broken{err: fault.Errorf(fault.FetchFailed, "%s ended at byte %d of %d", body.URL, d.done, d.total)}
	}
	if err := d.file.Truncate(d.done); err != nil {
		return fault.FromOS("size the download's file", err)
	}
	return nil
}

func (d *download) result() Result {
	return Result{Bytes: d.done, SHA256: [sha256.Size]byte(d.sum.Sum(nil)), ContentType: d.contentType}
}

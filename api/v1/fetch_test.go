package v1_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/fetch"
)

// fetcher fetches from loopback too.
type fetcher struct{ client *fetch.Client }

func newFetcher(t testing.TB) fetcher {
	t.Helper()
	c := fetch.New(fetch.Config{AllowPrivate: true, Backoff: time.Millisecond, Tries: 2})
	t.Cleanup(c.Close)
	return fetcher{c}
}

func (f fetcher) Download(ctx context.Context, url string, file *os.File, p volume.Progress) (int64, error) {
	r, err := f.client.Download(ctx, url, file, p)
	return r.Bytes, err
}

func (f fetcher) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	body, err := f.client.Open(ctx, url, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, limit))
}

package main

import (
	"context"
	"io"
	"os"

	"elstore/cloudinit"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/fetch"
)

// fetcher lets the Service download with a fetch.Client.
type fetcher struct{ client *fetch.Client }

var _ volume.Fetcher = fetcher{}

// Download implements volume.Fetcher.
func (f fetcher) Download(ctx context.Context, url string, file *os.File, p volume.Progress) (int64, error) {
	result, err := f.client.Download(ctx, url, file, p)
	if err != nil {
		return 0, err
	}
	return result.Bytes, fault.FromOS("write image", file.Sync())
}

var _ cloudinit.Getter = fetcher{}

// Get implements cloudinit.Getter.
func (f fetcher) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	body, err := f.client.Open(ctx, url, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, limit))
}

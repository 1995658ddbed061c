package qemu

import (
	"context"
	"os"
	"strconv"
)

// ConvertOptions says how Convert does it.
type ConvertOptions struct {
	Progress      Progress // may be nil
	Threads       int      // how many parts are copied at once, 1 to 16; 0 is 8
	Preallocation Preallocation
}

const (
	defaultThreads = 8
	maxThreads     = 16
)

// Convert copies what a machine sees of src, its backing files included, into the new image dst, which stands
// alone. It fails if there is a file of dst's name. src must not be open for writing elsewhere, and an image from
// outside must have passed Inspect. When Convert returns nil dst is on stable storage, but for its name, which is so
// when the caller synced its directory; on an error nothing is left of it.
//
// Zeros become holes in the target (qemu-img's -S, 4 KiB). The target is written past the page cache where its
// file system can do that (-t none): nobody reads a copy soon that is larger than the cache, it would push out
// what machines use, and gigabytes that wait to be written would hold up everybody else's fsync and our own at
// the end, where no progress can be seen. Elsewhere it goes through the cache (-t writeback). The default, unsafe,
// would ignore flushes. The source is read through the cache: it may just have been downloaded into it.
func (t *Tool) Convert(ctx context.Context, src, dst Image, o ConvertOptions, inherit ...*os.File) error {
	if err := src.check(); err != nil {
		return err
	}
	if err := dst.checkFile(); err != nil {
		return err
	}
	if err := o.Preallocation.check(dst.Format); err != nil {
		return err
	}
	if err := t.Available(); err != nil {
		return err
	}
	var total int64
	if o.Progress != nil {
		info, err := t.Info(ctx, src, inherit...)
		if err != nil {
			return err
		}
		total = info.VirtualSize
	}
	to, err := newTarget(dst.Path, t.config.Mode)
	if err != nil {
		return err
	}
	err = to.finish(t.convert(ctx, src, dst, to.direct(), total, o, inherit))
	if err != nil {
		return err
	}
	if o.Progress != nil {
		o.Progress(total, total)
	}
	return nil
}

func (t *Tool) convert(ctx context.Context, src, dst Image, direct bool, total int64, o ConvertOptions, inherit []*os.File) error {
	threads := defaultThreads
	if o.Threads != 0 {
		threads = max(1, min(o.Threads, maxThreads))
	}
	cache := "writeback"
	if direct {
		cache = "none"
	}
	args := []string{
		"-p", "-f", string(src.Format), "-O", string(dst.Format),
		"-m", strconv.Itoa(threads), "-T", "writeback", "-t", cache,
	}
	if o.Preallocation.on() {
		args = append(args, "-o", "preallocation="+string(o.Preallocation))
	}
	report := func(float64) {}
	if o.Progress != nil {
		report = func(percent float64) { o.Progress(share(percent, total), total) }
	}
	_, err := t.run(ctx, command{
		name: "convert", args: append(args, "--", src.Path, dst.Path),
		limits: limits{addressSpace: addressSpace(threads)},
		stalls: true, progress: report, target: dst.Path, images: []Image{src, dst}, inherit: inherit,
	})
	return err
}

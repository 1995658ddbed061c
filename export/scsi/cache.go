package scsi

import "context"

// synchronizeCache is SYNCHRONIZE CACHE, SBC-3 sections 5.24 and 5.25. A Device flushes all or nothing, so the
// range is only checked. With IMMED the answer might come at once; it comes when the data is safe, since an
// error can then still be told.
func synchronizeCache(ctx context.Context, lu *LogicalUnit, _ *Nexus, _ *Command) answer {
	return lu.flush(ctx)
}

// preFetch is PRE-FETCH, SBC-3 sections 5.8 and 5.9. Its GOOD says that not all may stay in the cache: nobody
// can promise that of a page cache.
func preFetch(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	prefetcher, ok := lu.device.(Prefetcher)
	if !ok {
		return good
	}
	s := c.span
	if s.count == 0 {
		s.count = lu.blocks.Load() - min(s.lba, lu.blocks.Load())
	}
	s.count = min(s.count, uint64(lu.cfg.Limits.TransferLength))
	if s.count > 0 {
		prefetcher.Prefetch(lu.offset(s.lba), lu.bytes(s.count))
	}
	return good
}

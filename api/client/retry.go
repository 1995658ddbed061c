package client

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// maxDelay is the longest pause between two tries.
const maxDelay = 2 * time.Second

// backoff counts tries and says how long to wait before the next one.
type backoff struct {
	delay    time.Duration // before the next try
	first    time.Duration
	left     int           // tries that are left, or less than 0 where time alone counts
	patience time.Duration // how long tries may fail one after the other
	failing  time.Time     // since when they do; zero: they don't
}

// retries bounds one request by the number of its repetitions.
func (c *Client) retries() *backoff {
	return &backoff{delay: c.cfg.RetryDelay, first: c.cfg.RetryDelay, left: max(0, c.cfg.Retries)}
}

// patience bounds what follows the server by the time in which nothing comes of it.
func (c *Client) patience() *backoff {
	return &backoff{delay: c.cfg.RetryDelay, first: c.cfg.RetryDelay, left: -1, patience: c.cfg.Patience}
}

// progress says that the last try brought something.
func (b *backoff) progress() { b.delay, b.failing = b.first, time.Time{} }

// again waits before the next try after one that failed with err. It returns nil for that try, or the error to end
// with: err where there shall be none, or that ctx ended.
func (b *backoff) again(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return gaveUp(ctx)
	case b.left == 0:
		return err
	case b.left > 0:
		b.left--
	default:
		if b.failing.IsZero() {
			b.failing = time.Now()
		}
		if b.patience < 0 || time.Since(b.failing) >= b.patience {
			return err
		}
	}
	if !pause(ctx, b.delay) {
		return gaveUp(ctx)
	}
	b.delay = min(2*b.delay, maxDelay)
	return nil
}

// pause waits for about d; many clients of a server that comes back should not come all at once. It returns
// false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	d += time.Duration(rand.Int64N(int64(d)/4 + 1)) //nolint:gosec // spreads load, no secret
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// broken reports whether err is of a line that broke, so that another try makes sense.
func broken(err error) bool {
	_, unreachable := errors.AsType[*UnreachableError](err)
	_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return unreachable && !distrusted && !errors.Is(err, errTimeout)
}

// passing reports whether the server is likely to answer otherwise soon: it is stopping, or asked too often.
func passing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests ||
		e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout)
}

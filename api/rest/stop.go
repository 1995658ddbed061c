package rest

import "context"

type stoppingKey struct{}

// WithStopping makes Stopping return stopping for ctx and what comes of it.
func WithStopping(ctx context.Context, stopping <-chan struct{}) context.Context {
	return context.WithValue(ctx, stoppingKey{}, stopping)
}

// Stopping returns a channel that is closed when the server begins to stop, for answers that have no end of their
// own, such as event streams. Requests that do end are let finish and needn't look at it. Outside of a server it
// is never closed.
func Stopping(ctx context.Context) <-chan struct{} {
	stopping, _ := ctx.Value(stoppingKey{}).(<-chan struct{})
	return stopping
}

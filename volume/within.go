package volume

import (
	"context"
	"slices"
)

type withinKey struct{}

// Within limits what the Service does on ctx, and what comes of it, to the named pools: what lies in others is not there,
// and nothing new is placed in them. nil lifts the limit. Pools that a token names limit its bearer so.
func Within(ctx context.Context, pools []string) context.Context {
	return context.WithValue(ctx, withinKey{}, pools)
}

// limits returns the pools that ctx is limited to, nil for all.
func limits(ctx context.Context) []string {
	pools, _ := ctx.Value(withinKey{}).([]string)
	return pools
}

// inside reports whether ctx may see what lies in a pool.
func inside(ctx context.Context, pool string) bool {
	pools := limits(ctx)
	return pools == nil || slices.Contains(pools, pool)
}

// limited puts ctx's limit into wants, which it returns.
func limited(ctx context.Context, wants ...Want) []Want {
	if pools := limits(ctx); pools != nil {
		for i := range wants {
			wants[i].Within = pools
		}
	}
	return wants
}

// Takes reports whether a pool may be chosen for w, by its name.
func (w *Want) Takes(pool string) bool {
	return (w.Pool == "" || w.Pool == pool) && (w.Within == nil || slices.Contains(w.Within, pool))
}

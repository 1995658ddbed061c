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

type provenKey struct{}

// Proven makes every Who that the Service is given on ctx, and what comes of it, somebody who proved who he is. Else a Who is the
// caller's word. It counts where a damaged volume doesn't tell any more whose it is: then it is not his, and not there.
func Proven(ctx context.Context) context.Context { return context.WithValue(ctx, provenKey{}, true) }

// nobodys reports whether a volume is out of by's reach because nobody knows whose it is.
func nobodys(ctx context.Context, e *entry, by Who) bool {
	proven, _ := ctx.Value(provenKey{}).(bool)
	return proven && by != nil && !e.owned()
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

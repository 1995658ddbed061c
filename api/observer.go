package api

import (
	"net/http"
	"slices"
	"time"

	"elstore/api/rest"
)

// observed tells observers of every request.
func observed(observers []rest.Observer, next http.Handler) http.Handler {
	for _, observer := range slices.Backward(observers) {
		next = observedBy(observer, next)
	}
	return next
}

func observedBy(observer rest.Observer, next http.Handler) http.Handler {
	//nolint:contextcheck // the observer makes the context of the request's own
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, end := observer(r)
		ctx, note := withNoted(ctx)
		rec := rest.Record(w)
		whole := false
		defer func() {
			o := rest.Outcome{
				Method: r.Method, Route: note.route, Status: rec.Status(), Bytes: rec.Bytes(),
				Took: time.Since(began), BrokenOff: !whole, RequestID: rest.RequestID(ctx),
			}
			if err := rest.Failure(ctx); err != nil {
				code, _ := rest.Describe(err)
				o.Code = string(code)
			}
			end(o)
		}()
		next.ServeHTTP(rec, r.WithContext(ctx))
		whole = true
	})
}

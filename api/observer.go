package api

import (
	"context"
	"net/http"
	"time"

	"elstore/api/rest"
)

// Observer is told of a request when it came. It returns the context to answer it with, and what is to be called when it was
// answered; both may be called from many goroutines at once.
type Observer func(r *http.Request) (context.Context, func(Outcome))

// Outcome is what became of a request.
type Outcome struct {
	Method    string
	Route     string // its pattern, such as /jobs/{id}; "" where nothing is at its path
	Status    int
	Bytes     int64 // of the answer's body
	Took      time.Duration
	Code      string // of the error, or ""
	BrokenOff bool   // the connection was dropped in the middle of the answer
	RequestID string
}

// observed tells observers of every request.
func observed(observers []Observer, next http.Handler) http.Handler {
	for i := len(observers) - 1; i >= 0; i-- {
		next = observedBy(observers[i], next)
	}
	return next
}

func observedBy(observer Observer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, end := observer(r)
		ctx, route := withRoute(ctx)
		rec := rest.Record(w)
		whole := false
		defer func() {
			o := Outcome{
				Method: r.Method, Route: *route, Status: rec.Status(), Bytes: rec.Bytes(),
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

package rest

import (
	"context"
	"net/http"
	"time"
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

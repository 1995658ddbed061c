package rest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// notes is what a request gathers on its way, for Error and for the access log.
type notes struct {
	control *http.ResponseController
	mu      sync.Mutex
	id      string
	echo    map[string]json.RawMessage
	failure error
}

type notesKey struct{}

func notesOf(ctx context.Context) *notes {
	n, _ := ctx.Value(notesKey{}).(*notes)
	return n
}

// WithEcho gives every request that next serves a place for its id, its decoded keys and its failure, and lets
// Decode bound the time that a body takes. Without it Error and Decode still work, and know less.
func WithEcho(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &notes{control: http.NewResponseController(w)}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), notesKey{}, n)))
	})
}

// SetRequestID keeps id as the request's, if ctx is that of a request under WithEcho.
func SetRequestID(ctx context.Context, id string) {
	if n := notesOf(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.id = id
	}
}

// RequestID returns what SetRequestID kept, or "".
func RequestID(ctx context.Context) string {
	n := notesOf(ctx)
	if n == nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// Echo returns the keys of the object that Decode read from the request, as they were sent, secrets redacted.
// The map is the caller's own; it is empty where no object was read. It is how a call answers with its request.
func Echo(ctx context.Context) map[string]json.RawMessage {
	if n := notesOf(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.echo != nil {
			return maps.Clone(n.echo)
		}
	}
	return map[string]json.RawMessage{}
}

// Failure returns the last error that Error wrote for the request, cause and all, for the log; or nil.
func Failure(ctx context.Context) error {
	n := notesOf(ctx)
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// remember keeps members, the object that is decoded into target, for Echo.
func remember(r *http.Request, members []member, target reflect.Value) {
	n := notesOf(r.Context())
	if n == nil || target.Kind() != reflect.Struct {
		return
	}
	p := planOf(target.Type())
	echo := make(map[string]json.RawMessage, len(members))
	for _, m := range members {
		if at, known := p.byKey[m.key]; known && p.fields[at].secret {
			echo[m.key] = json.RawMessage(`"[redacted]"`)
			continue
		}
		echo[m.key] = m.value
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.echo = echo
}

// failed keeps err for Failure.
func failed(ctx context.Context, err error) {
	if n := notesOf(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.failure = err
	}
}

// limitRead makes reading r's body fail once limit has passed, until stop is called. The deadline must go
// again: the server reads on in the background to see a client hang up, and would take a timeout for that.
func limitRead(r *http.Request, limit time.Duration) (stop func()) {
	n := notesOf(r.Context())
	if n == nil || n.control.SetReadDeadline(time.Now().Add(limit)) != nil {
		return func() {}
	}
	return func() { _ = n.control.SetReadDeadline(time.Time{}) }
}

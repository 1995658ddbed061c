package rest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
)

// notes is what a request gathers on its way, for Error and for the access log.
type notes struct {
	body *timedBody // nil where there is none

	mu      sync.Mutex
	id      string
	echo    map[string]json.RawMessage
	about   []string
	failure error
}

type notesKey struct{}

func notesOf(ctx context.Context) *notes {
	n, _ := ctx.Value(notesKey{}).(*notes)
	return n
}

// WithEcho gives every request that next serves a place for its id, its decoded keys and its failure, and bounds
// how long it waits for the request's body: a minute for each part of it, and half a minute in all for what Decode
// reads. Without it Error and Decode still work, and know less.
func WithEcho(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &notes{}
		r = r.WithContext(context.WithValue(r.Context(), notesKey{}, n))
		if r.Body != nil && r.Body != http.NoBody {
			n.body = &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
			r.Body = n.body
			defer n.body.finish()
		}
		next.ServeHTTP(w, r)
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

// SetAbout notes what the request is about: ids of volumes, jobs and the like, for the audit log.
func SetAbout(ctx context.Context, ids ...string) {
	if n := notesOf(ctx); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.about = append(n.about, ids...)
	}
}

// About returns what SetAbout noted.
func About(ctx context.Context) []string {
	n := notesOf(ctx)
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.about)
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

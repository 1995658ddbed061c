package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
)

// requestIDHeader is the header that names a request, in the caller's words or ours.
const requestIDHeader = "X-Request-Id"

// identified gives every request an id: the caller's where it is sane, else a new one.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !sane(id) {
			id = strings.ToLower(rand.Text())
		}
		w.Header().Set(requestIDHeader, id)
		rest.SetRequestID(r.Context(), id)
		next.ServeHTTP(w, r)
	})
}

// sane reports whether id may stand in a log and a header: 1 to 64 letters, digits, dots, dashes and underscores.
func sane(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// noted is what is found out about a request while it is served, for its line in the log.
type noted struct {
	route  string
	caller *access.Caller // nil until it is known, or where nobody is asked
}

type notedKey struct{}

// notedOf returns the notes of a request, or a place for nobody's where it has none.
func notedOf(ctx context.Context) *noted {
	if n, ok := ctx.Value(notedKey{}).(*noted); ok {
		return n
	}
	return &noted{}
}

// withNoted gives a request a place for notes.
func withNoted(ctx context.Context) (context.Context, *noted) {
	if n, ok := ctx.Value(notedKey{}).(*noted); ok {
		return ctx, n
	}
	n := &noted{}
	return context.WithValue(ctx, notedKey{}, n), n
}

// who are the attributes that say who sent a request: its name for people, as the audit log has it, and the identity of a user. What is
// in a name the log's handlers quote.
func (n *noted) who() []slog.Attr {
	c := n.caller
	if c == nil || c.Role == access.Anonymous {
		return nil
	}
	attrs := []slog.Attr{slog.String("who", cut(c.Name))}
	if who := c.Who(); who != nil {
		attrs = append(attrs, slog.String("identity", who.String()))
	}
	return attrs
}

// logged writes one line per request: at debug what read and succeeded, at warn what failed by our doing or
// for want of something, at info the rest.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, note := withNoted(r.Context())
		rec := rest.Record(w)
		whole := false
		defer func() {
			attrs := []slog.Attr{
				slog.String("method", cut(r.Method)), slog.String("route", note.route), slog.Int("status", rec.Status()),
				slog.Int64("bytes", rec.Bytes()), slog.Float64("duration_ms", float64(time.Since(began).Microseconds())/1000),
				slog.String("request_id", rest.RequestID(ctx)), slog.String("remote", r.RemoteAddr),
			}
			attrs = append(attrs, note.who()...)
			if note.route == "" {
				attrs = append(attrs, slog.String("path", cut(r.URL.EscapedPath())))
			}
			if err := rest.Failure(ctx); err != nil {
				code, _ := rest.Describe(err)
				attrs = append(attrs, slog.String("code", string(code)), slog.String("error", err.Error()))
				if cause := rest.Cause(err); cause != "" && rec.Status() >= http.StatusInternalServerError {
					attrs = append(attrs, slog.String("cause", cause))
				}
			}
			if !whole {
				attrs = append(attrs, slog.Bool("broken_off", true))
			}
			log.LogAttrs(ctx, level(r.Method, rec.Status(), whole), "request", attrs...)
		}()
		next.ServeHTTP(rec, r.WithContext(ctx))
		whole = true
		if rec.Status() == 0 {
			rec.WriteHeader(http.StatusOK) // as net/http does for a handler that wrote nothing
		}
	})
}

func level(method string, status int, whole bool) slog.Level {
	switch {
	case status >= 500 || !whole:
		return slog.LevelWarn
	case status < 400 && (method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// recovered answers for a handler that panicked, and logs where it did.
func recovered(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, ctx := rest.Record(w), r.Context()
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("value", fmt.Sprint(p)),
				slog.String("request_id", rest.RequestID(ctx)), slog.String("stack", string(debug.Stack())))
			failed := rest.Handler(func(http.ResponseWriter, *http.Request) error { return fmt.Errorf("panic: %v", p) })
			failed.ServeHTTP(rec, r)
		}()
		next.ServeHTTP(rec, r)
	})
}

// cut shortens what stands in the log. An escaped path is plain ASCII.
func cut(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

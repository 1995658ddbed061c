package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/rest"
	"elstore/volume/fault"
)

// trail is what the audit log tells of a request beside its answer.
type trail struct {
	caller  *access.Caller // nil until it is known
	route   string
	audited bool // the policy wants it told
}

type trailKey struct{}

func trailOf(ctx context.Context) *trail {
	t, _ := ctx.Value(trailKey{}).(*trail)
	return t
}

// audited tells the audit log of requests that change something, and of those that were refused for who sent them: not
// of those without credentials or beyond a limit, which would drive everything else out of a bounded log.
func audited(log *slog.Logger, to *audit.Log, next http.Handler) http.Handler {
	if to == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &trail{}
		rec, ctx := rest.Record(w), context.WithValue(r.Context(), trailKey{}, t)
		defer func() {
			status := rec.Status()
			switch {
			case status == http.StatusForbidden:
			case status == http.StatusUnauthorized && len(r.Header["Authorization"]) > 0:
			case !t.audited, status == http.StatusUnauthorized, status == http.StatusTooManyRequests:
				return
			}
			e := entryOf(ctx, r, t)
			e.Status = status
			if err := to.Append(e); err != nil {
				log.LogAttrs(ctx, slog.LevelError, "not in the audit log", slog.Any("error", err), slog.String("request_id", e.RequestID))
			}
		}()
		next.ServeHTTP(rec, r.WithContext(ctx))
		if rec.Status() == 0 {
			rec.WriteHeader(http.StatusOK) // as net/http does for a handler that wrote nothing
		}
	})
}

func entryOf(ctx context.Context, r *http.Request, t *trail) *audit.Entry {
	e := &audit.Entry{
		Time: time.Now().UTC(), RequestID: rest.RequestID(ctx), Remote: r.RemoteAddr, Method: cut(r.Method), Route: t.route, About: rest.About(ctx),
	}
	if e.Route == "" {
		e.Route = cut(r.URL.EscapedPath())
	}
	if c := t.caller; c != nil {
		e.Who, e.Role, e.Token = c.Name, c.Role.String(), c.Token
		if who := c.Who(); who != nil && c.Role > access.Anonymous {
			e.Identity = who.String()
		}
	}
	if err := rest.Failure(ctx); err != nil {
		e.Code = fault.CodeOf(err)
	}
	return e
}

// allowed refuses callers that policy doesn't let call the route at pattern, and notes for the audit log which it is.
func allowed(r *http.Request, pattern string) error {
	v, _ := verdictOf(r.Method, pattern)
	if t := trailOf(r.Context()); t != nil {
		t.route, t.audited = pattern, v.audited
	}
	return access.CallerOf(r.Context()).May(v.least, pattern)
}

package api

import (
	"net/http"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume/fault"
)

// authenticated finds out who asks, for the routes to decide by. A nil control asks nobody.
func authenticated(control *access.Control, next http.Handler) http.Handler {
	if control == nil {
		return next
	}
	return rest.Handler(func(w http.ResponseWriter, r *http.Request) error {
		caller, err := control.Caller(r)
		if err != nil {
			if fault.Is(err, fault.Unauthorized) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="elstore", error="invalid_token"`) // RFC 6750 section 3.1
			}
			return err
		}
		ctx := r.Context()
		notedOf(ctx).caller = caller
		if t := trailOf(ctx); t != nil {
			t.caller = caller
		}
		ctx = access.WithCaller(ctx, caller)
		if who := caller.Who(); who != nil {
			ctx = rest.WithBound(ctx, who.String())
		}
		next.ServeHTTP(w, r.WithContext(ctx))
		return nil
	})
}

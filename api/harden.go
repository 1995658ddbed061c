package api

import "net/http"

// hardened sets the headers that keep a browser from making anything of an answer but data: it may not be a script, a
// style, a frame or a part of another site's page, nor tell other sites where it came from. A handler that answers
// with a page sets its own.
//
// Strict-Transport-Security is not among them: it would bind every service of the host, on whatever port, and hold
// clients to a self-signed certificate for its whole time.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["X-Content-Type-Options"] = nosniff
		h["Content-Security-Policy"] = noContent
		h["X-Frame-Options"] = deny
		h["Referrer-Policy"] = noReferrer
		h["Cross-Origin-Resource-Policy"] = sameOrigin
		next.ServeHTTP(w, r)
	})
}

// The values are shared by all answers, which replace and don't change them.
var (
	nosniff    = []string{"nosniff"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	deny       = []string{"DENY"}
	noReferrer = []string{"no-referrer"}
	sameOrigin = []string{"same-origin"}
)

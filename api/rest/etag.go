package rest

import (
	"net/http"
	"strings"
)

// NotModified sets w's ETag and reports whether r asks for that very state (If-None-Match, RFC 9110 section
// 13.1.2). If so it has answered 304 and the handler returns nil. tag is the opaque part, without quotes: printable
// ASCII without '"'. The answer may be kept by the client alone and must be asked about before it is used again.
func NotModified(w http.ResponseWriter, r *http.Request, tag string) bool {
	w.Header().Set("ETag", `"`+tag+`"`)
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "private, no-cache")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if !matchesTag(r.Header.Values("If-None-Match"), tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// matchesTag reports whether one of the If-None-Match lines names tag or anything ("*"). The comparison is the
// weak one. What comes after a malformed tag is not looked at: the client then gets the whole answer.
func matchesTag(lines []string, tag string) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for line != "" {
			line = strings.TrimLeft(line, " \t,")
			opened, ok := strings.CutPrefix(strings.TrimPrefix(line, "W/"), `"`)
			if !ok {
				break
			}
			given, rest, closed := strings.Cut(opened, `"`)
			if !closed {
				break
			}
			if given == tag {
				return true
			}
			line = rest
		}
	}
	return false
}

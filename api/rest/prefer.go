package rest

import (
	"net/http"
	"strings"
)

// PrefersAsync reports whether the caller sent "Prefer: respond-async" (RFC 7240 section 4.1): it wants 202 and
// a job to follow rather than to wait.
func PrefersAsync(r *http.Request) bool { return prefersAsync(r.Header.Values("Prefer")) }

// prefersAsync looks for the preference in the header's lines. A comma or semicolon in a quoted string parts nothing.
func prefersAsync(lines []string) bool {
	for _, line := range lines {
		for _, preference := range fields(line, ',') {
			name := strings.Trim(fields(preference, ';')[0], " \t")
			if strings.EqualFold(name, "respond-async") {
				return true
			}
		}
	}
	return false
}

// fields parts s at every sep outside of quoted strings (RFC 9110 section 5.6.4). It returns at least one part.
func fields(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

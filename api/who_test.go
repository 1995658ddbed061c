package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"elstore/api/access"
	"elstore/volume"
)

// namer is an authority for which every token is its bearer's.
type namer access.Caller

func (n namer) Verify(context.Context, string) (*access.Caller, error) {
	c := access.Caller(n)
	return &c, nil
}

// TestLogSaysWhoAsked: the line of a request has its caller's name, which can't make a line of its own.
func TestLogSaysWhoAsked(t *testing.T) {
	me, err := volume.ParseClient("000102030405060708090a0b0c0d0e0f")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	tokens, err := access.OpenTokens(dir)
	if err != nil {
		t.Fatal(err)
	}
	const forged = "ci\r\n{\"level\":\"ERROR\",\"msg\":\"panic\"}\nlevel=ERROR msg=panic \x1b[2J"
	for name, tt := range map[string]struct {
		caller namer
		sent   string
		who    any
		id     any
	}{
		"a user":       {namer{Name: "ci", Role: access.User, Identity: me}, "Bearer a.b.c", "ci", me.String()},
		"an operator":  {namer{Name: "jo", Role: access.Operator}, "Bearer a.b.c", "jo", nil},
		"a forged one": {namer{Name: forged, Role: access.User, Identity: me}, "Bearer a.b.c", forged, me.String()},
		"a long one":   {namer{Name: strings.Repeat("x", 1000), Role: access.Operator}, "Bearer a.b.c", cut(strings.Repeat("x", 1000)), nil},
		"nobody":       {namer{}, "", nil, nil},
		"not let in":   {namer{}, "Bearer wrong", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ask := func(handler func(io.Writer) slog.Handler) (lines []string) {
				var log bytes.Buffer
				h := New(Config{Routes: someRoutes, Log: slog.New(handler(&log)), Access: access.NewControl(tokens, tt.caller)})
				r := httptest.NewRequest(http.MethodPost, "/api/v1/create", strings.NewReader("{}"))
				if tt.sent != "" {
					r.Header.Set("Authorization", tt.sent)
				}
				h.ServeHTTP(httptest.NewRecorder(), r)
				return strings.FieldsFunc(log.String(), func(r rune) bool { return r == '\n' || r == '\r' })
			}
			lines := ask(func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) })
			var line map[string]any
			if len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &line) != nil {
				t.Fatalf("it logs %q", lines)
			}
			if line["who"] != tt.who || line["identity"] != tt.id {
				t.Errorf("it says %v, %v; want %v, %v", line["who"], line["identity"], tt.who, tt.id)
			}
			lines = ask(func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) })
			if len(lines) != 1 || strings.Contains(lines[0], "\x1b") || strings.Contains(lines[0], " who=") != (tt.who != nil) {
				t.Errorf("as text it logs %q", lines)
			}
		})
	}
}

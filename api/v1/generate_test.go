package v1_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"elstore/api"
	"elstore/volume"
)

// generator makes requests of what the document says, and now and then of what it does not.
type generator struct {
	*rand.Rand
	ids []string // of volumes that are there
}

// odd are values that no schema asks for.
var odd = []any{nil, "", 0, -1, 1e308, "\u0000", strings.Repeat("x", 5000), "../../etc/passwd", "null", true, []any{}, map[string]any{}, map[string]any{"a": []any{nil}}, "💾", 1 << 53, "1e999"}

// value makes a value of a schema. depth bounds what refers to itself.
func (g *generator) value(ref *openapi3.SchemaRef, name string, depth int) any {
	if ref == nil || ref.Value == nil || depth > 6 || g.IntN(40) == 0 {
		return odd[g.IntN(len(odd))]
	}
	s := ref.Value
	switch {
	case len(s.Enum) > 0:
		return s.Enum[g.IntN(len(s.Enum))]
	case len(s.AllOf) > 0:
		all := map[string]any{}
		for _, part := range s.AllOf {
			if v, ok := g.value(part, name, depth+1).(map[string]any); ok {
				maps.Copy(all, v)
			}
		}
		return all
	case len(s.OneOf) > 0:
		return g.value(s.OneOf[g.IntN(len(s.OneOf))], name, depth+1)
	case len(s.AnyOf) > 0:
		return g.value(s.AnyOf[g.IntN(len(s.AnyOf))], name, depth+1)
	case s.Type.Includes("object") || len(s.Properties) > 0:
		return g.object(s, depth)
	case s.Type.Includes("array"):
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.value(s.Items, name, depth+1))
		}
		return list
	case s.Type.Includes("boolean"):
		return g.IntN(2) == 0
	case s.Type.Includes("integer"):
		return g.IntN(20)
	case s.Type.Includes("number"):
		return []any{0.0001, 0.001, 1, "0.0005", 0.5}[g.IntN(5)]
	}
	return g.text(name)
}

func (g *generator) object(s *openapi3.Schema, depth int) any {
	made := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		needed := slices.Contains(s.Required, key)
		if needed && g.IntN(20) > 0 || !needed && g.IntN(4) == 0 {
			made[key] = g.value(s.Properties[key], key, depth+1)
		}
	}
	return made
}

// text makes a string that fits a key of that name.
func (g *generator) text(name string) string {
	switch lower := strings.ToLower(name); {
	case strings.Contains(lower, "creator"), strings.Contains(lower, "client"):
		return []string{alice, alice, alice, bob, "nobody"}[g.IntN(5)]
	case lower == "vid", strings.Contains(lower, "volume"), strings.HasSuffix(lower, "id"):
		return append(slices.Clone(g.ids), bob, "not-an-id")[g.IntN(len(g.ids)+2)]
	case lower == "pool":
		return []string{"pool", "other"}[g.IntN(2)]
	case lower == "url":
		return "http://127.0.0.1:1/x"
	}
	return []string{"a", "web", "user-data", "a b", "é\n", "..", "1", "2026-11-21"}[g.IntN(8)]
}

// request makes a request of an operation.
func (g *generator) request(t *testing.T, method, path string, item *openapi3.PathItem, o *openapi3.Operation) *http.Request {
	query, header := url.Values{}, http.Header{}
	for _, list := range []openapi3.Parameters{item.Parameters, o.Parameters} {
		for _, p := range list {
			v := g.value(p.Value.Schema, p.Value.Name, 0)
			text := fmt.Sprint(v)
			switch {
			case p.Value.In == "path":
				path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", url.PathEscape(cmp.Or(text, "-")))
			case g.IntN(3) > 0:
			case p.Value.In == "query":
				query.Add(p.Value.Name, text)
			case p.Value.In == "header" && !strings.ContainsAny(text, "\x00\n"):
				header.Set(p.Value.Name, text)
			}
		}
	}
	var body []byte
	if o.RequestBody != nil {
		kinds := slices.Sorted(maps.Keys(o.RequestBody.Value.Content))
		kind := kinds[g.IntN(len(kinds))]
		var err error
		if body, err = json.Marshal(g.value(o.RequestBody.Value.Content[kind].Schema, "", 0)); err != nil {
			t.Fatal(err)
		}
		if g.IntN(30) == 0 {
			body = body[:g.IntN(len(body))]
		}
		if strings.HasPrefix(kind, "multipart/") {
			body = slices.Concat([]byte("--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n"), body,
				[]byte("\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"user-data\"\r\n\r\n#cloud-config\n\r\n--b--\r\n"))
			kind += "; boundary=b"
		}
		header.Set("Content-Type", kind)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(string(body)))
	r.URL.RawQuery = query.Encode()
	maps.Copy(r.Header, header)
	return r
}

// TestOperationsOfTheDocument: whatever fits the document, and much that almost does, is answered as the document says and never with
// 500. Every operation gets as many requests; the seed is fixed, so that what fails fails again.
func TestOperationsOfTheDocument(t *testing.T) {
	s := newServer(t, `{"max-volumes": 60, "max-volume-size": "1M", "max-total-size": "20M"}`)
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(api.Config{Routes: s.routes(), Log: slog.New(slog.DiscardHandler)})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	well := map[string]int{}
	const each = 15
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		item := doc.Paths.Map()[path]
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			g := &generator{rand.New(rand.NewPCG(7, uint64(len(path)))), []string{s.create("one", 0.0001), s.create("two", 0.0001, "shareable", true)}}
			for range each {
				r := g.request(t, method, path, item, item.Operations()[method])
				if path == "/events" || path == "/revisions/stream" {
					r = r.WithContext(ended) // what has no end ends at once
				}
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, r)
				judge(t, r, rec)
				if rec.Code < 300 {
					well[method+" "+path]++
				}
			}
			for _, id := range g.ids {
				_ = s.exports.Unexport(t.Context(), parse(t, id), volume.Client(parse(t, alice)), "", false)
				_ = s.Volumes.Destroy(t.Context(), parse(t, id), nil, true)
			}
		}
	}
	if len(well) < 30 {
		t.Errorf("only %d operations were ever answered well: %v", len(well), well)
	}
}

func parse(t *testing.T, text string) volume.ID {
	t.Helper()
	id, err := volume.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

package v1_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"elstore/api/rest"
	v1 "elstore/api/v1"
	"elstore/volume/fault"
)

func TestDocumentIsValid(t *testing.T) {
	if _, err := loadSpec(); err != nil {
		t.Fatal(err)
	}
}

func TestDocumentAndRoutesAgree(t *testing.T) {
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	served := map[string]bool{}
	for _, route := range v1.New(v1.Config{}).Routes() {
		for _, method := range route.Methods {
			name := method + " " + strings.ReplaceAll(route.Path, "...}", "}")
			if served[name] {
				t.Errorf("%s is served twice", name)
			}
			served[name] = true
			if !documented[name] {
				t.Errorf("%s is served and not in the document", name)
			}
		}
	}
	for name := range documented {
		if !served[name] {
			t.Errorf("%s is in the document and not served", name)
		}
	}
}

func TestDocumentKnowsEveryCode(t *testing.T) {
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join("..", "..", "volume", "fault", "code.go"))
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, m := range regexp.MustCompile(`Code = "(\w+)"`).FindAllSubmatch(source, -1) {
		declared = append(declared, string(m[1]))
	}
	var documented []string
	for _, code := range doc.Components.Schemas["Code"].Value.Enum {
		documented = append(documented, code.(string))
	}
	slices.Sort(declared)
	slices.Sort(documented)
	if len(declared) < 40 || !slices.Equal(declared, documented) {
		t.Errorf("declared and not documented: %v; documented and not declared: %v", without(declared, documented), without(documented, declared))
	}
}

func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

func TestDocumentIsServed(t *testing.T) {
	s := newServer(t, `{}`)
	text := s.get("/openapi.yaml").want(200)
	onDisk, err := os.ReadFile(filepath.Join("..", "openapi.yaml"))
	if err != nil || string(onDisk) != string(text.body) {
		t.Errorf("api/openapi.yaml is not what is served: %v", err)
	}
	if got := text.header.Get("Content-Type"); got != "application/yaml" {
		t.Errorf("Content-Type %s", got)
	}
	doc := s.get("/openapi.json").want(200)
	var got struct {
		OpenAPI string                     `json:"openapi"`
		Paths   map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(doc.body, &got); err != nil || !strings.HasPrefix(got.OpenAPI, "3.1") || len(got.Paths) < 30 {
		t.Errorf("%v: %s with %d paths", err, got.OpenAPI, len(got.Paths))
	}
}

func TestVersion(t *testing.T) {
	s := newServer(t, `{}`)
	got := s.get("/version").want(200).object()
	if got["version"] != "test" || got["name"] != "elstore" {
		t.Errorf("%v", got)
	}
}

func TestWhatComesLaterIsNotThere(t *testing.T) {
	s := newServer(t, `{}`)
	for _, path := range []string{"/ceph/destroy", "/pools/refresh/all"} {
		resp, err := http.Post(s.http.URL+base+path, "", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

var errorRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\d+) \\| ([^|]{10,}) \\| ([^|]{10,}) \\|$")

// TestErrorsAreExplained: ERRORS.md has every code, with the status that it is answered with, what it means and what to do.
func TestErrorsAreExplained(t *testing.T) {
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "ERRORS.md"))
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	for _, row := range errorRow.FindAllStringSubmatch(string(text), -1) {
		explained = append(explained, row[1])
		if want := rest.Status(fault.KindOf(fault.Errorf(fault.Code(row[1]), "x"))); row[2] != strconv.Itoa(want) {
			t.Errorf("%s is explained with the status %s, and is answered with %d", row[1], row[2], want)
		}
	}
	var codes []string
	for _, code := range doc.Components.Schemas["Code"].Value.Enum {
		codes = append(codes, code.(string))
	}
	if missing, more := without(codes, explained), without(explained, codes); len(missing)+len(more) > 0 || len(explained) != len(codes) {
		t.Errorf("not explained: %v; explained and not there: %v", missing, more)
	}
}

package v1_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

// TestDocsPage: every operation and schema of the document is on the page, its links lead somewhere, and it needs nothing but itself.
func TestDocsPage(t *testing.T) {
	s := newServer(t, `{}`)
	page := s.get("/docs").want(200)
	text := string(page.body)
	if kind := page.header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %s", kind)
	}
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src") {
		t.Errorf("its policy is %q", policy)
	}
	if external := regexp.MustCompile(`(?i)<(script|img|link|iframe|object)|(src|href)="(https?:)?//|@import|url\(`).FindString(text); external != "" {
		t.Errorf("the page needs %s", external)
	}
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !strings.Contains(text, `<details id="`+o.OperationID+`"><summary><b>`+method+`</b> <code>`+path+`</code>`) {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(text, `<details id="schema-`+name+`">`) {
			t.Errorf("the schema %s is not on the page", name)
		}
	}
	for _, link := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, `id="`+link[1]+`"`) {
			t.Errorf("a link leads to %s, which is not there", link[1])
		}
	}
	if strings.Contains(text, "**") || strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "&lt;p&gt;") {
		t.Error("marks are left on the page")
	}
	// HTML that is XML but for a few elements without an end can be read to its end.
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

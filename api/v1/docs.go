package v1

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed docs.html
var docsHTML string

// pagePolicy lets the page have its own style, and nothing else: it has no script and loads nothing.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

// docs answers with the document as a page for people.
func docs(w http.ResponseWriter, _ *http.Request) error {
	page, err := docsPage()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(page)))
	h.Set("Content-Security-Policy", pagePolicy)
	_, _ = w.Write(page) // it fails only if the client is gone
	return nil
}

// docsPage is made once.
var docsPage = sync.OnceValues(func() ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(openapi, &root); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, err
	}
	b := docsBuilder{node{root.Content[0]}}
	var page bytes.Buffer
	if err := t.Execute(&page, b.page()); err != nil {
		return nil, err
	}
	return page.Bytes(), nil
})

// What the page shows.
type (
	docsTag struct {
		Name, Description string
		Operations        []docsOperation
	}
	docsOperation struct {
		ID, Method, Path, Summary string
		Description               template.HTML
		Parameters                []docsProperty
		Bodies                    []docsBody
		Answers                   []docsAnswer
	}
	docsBody struct {
		Type   string
		Schema docsProperty
	}
	docsAnswer struct {
		Status      string
		Description template.HTML
		Bodies      []docsBody
	}
	docsProperty struct {
		Name, Ref, Kind string
		Required        bool
		Description     template.HTML
		Properties      []docsProperty
	}
)

// node is a part of the document, in the order in which it is written. The zero node is one that is not there.
type node struct{ *yaml.Node }

// at returns what is below a key.
func (n node) at(keys ...string) node {
	for _, key := range keys {
		found := node{}
		for name, below := range n.each {
			if name == key {
				found = below
			}
		}
		n = found
	}
	return n
}

// each yields the keys of an object, or the elements of a list with "".
func (n node) each(yield func(string, node) bool) {
	if n.Node == nil {
		return
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, node{n.Content[i+1]}) {
				return
			}
		}
		return
	}
	for _, element := range n.Content { // none of a scalar
		if !yield("", node{element}) {
			return
		}
	}
}

// text returns a scalar, or a list of them joined.
func (n node) text() string {
	if n.Node == nil {
		return ""
	}
	if n.Kind != yaml.SequenceNode {
		return n.Value
	}
	var words []string
	for _, element := range n.each {
		words = append(words, element.text())
	}
	return strings.Join(words, ", ")
}

// prose makes HTML of a description: paragraphs, lists, **bold**, *emphasis* and `code`.
func prose(text string) template.HTML {
	var b strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if block == "" {
			continue
		}
		tag, line := "p", "%s "
		if strings.HasPrefix(block, "- ") {
			tag, line = "ul", "<li>%s</li>"
		}
		b.WriteString("<" + tag + ">")
		for l := range strings.SplitSeq(block, "\n") {
			fmt.Fprintf(&b, line, inline(strings.TrimPrefix(l, "- ")))
		}
		b.WriteString("</" + tag + ">")
	}
	return template.HTML(b.String()) //nolint:gosec // everything in it is escaped, and ours
}

// inline escapes a line and marks what is between its marks.
func inline(line string) string {
	parts := strings.Split(template.HTMLEscapeString(line), "`")
	for i := range parts {
		if i%2 == 1 && i < len(parts)-1 {
			parts[i] = "<code>" + parts[i] + "</code>"
			continue
		}
		for _, mark := range []struct{ mark, tag string }{{"**", "b"}, {"*", "em"}} {
			pieces := strings.Split(parts[i], mark.mark)
			for j := 1; j < len(pieces)-1; j += 2 {
				pieces[j] = "<" + mark.tag + ">" + pieces[j] + "</" + mark.tag + ">"
			}
			if len(pieces)%2 == 1 {
				parts[i] = strings.Join(pieces, "")
			}
		}
	}
	return strings.Join(parts, "")
}

// docsMethods are those that a path may have.
var docsMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

func isMethod(word string) bool { return slices.Contains(docsMethods, word) }

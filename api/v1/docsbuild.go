package v1

import (
	"html/template"
	"strings"
)

// docsBuilder makes what the page shows of the document.
type docsBuilder struct{ root node }

// page is what the template takes.
func (b docsBuilder) page() any {
	page := struct {
		Title       string
		Description template.HTML
		Tags        []docsTag
		Schemas     []docsProperty
	}{Title: b.root.at("info", "title").text(), Description: prose(b.root.at("info", "description").text())}
	byTag := map[string][]docsOperation{}
	for path, item := range b.root.at("paths").each {
		for method, o := range item.each {
			if isMethod(method) {
				tag := o.at("tags").text()
				byTag[tag] = append(byTag[tag], b.operation(strings.ToUpper(method), path, item, o))
			}
		}
	}
	for _, t := range b.root.at("tags").each {
		name := t.at("name").text()
		page.Tags = append(page.Tags, docsTag{name, t.at("description").text(), byTag[name]})
	}
	for name, schema := range b.root.at("components", "schemas").each {
		p := b.property("", schema, false)
		p.Name = name
		page.Schemas = append(page.Schemas, p)
	}
	return page
}

// resolve follows a reference. ref is its last word, or "".
func (b docsBuilder) resolve(n node) (found node, ref string) {
	path := n.at("$ref").text()
	if path == "" {
		return n, ""
	}
	words := strings.Split(strings.TrimPrefix(path, "#/"), "/")
	return b.root.at(words...), words[len(words)-1]
}

func (b docsBuilder) operation(method, path string, item, o node) docsOperation {
	op := docsOperation{
		ID: o.at("operationId").text(), Method: method, Path: path, Summary: o.at("summary").text(), Description: prose(o.at("description").text()),
	}
	for _, list := range []node{item.at("parameters"), o.at("parameters")} {
		for _, p := range list.each {
			p, _ = b.resolve(p)
			shown := b.property(p.at("name").text(), p.at("schema"), p.at("required").text() == "true")
			shown.Kind += " in " + p.at("in").text()
			shown.Description = prose(p.at("description").text())
			op.Parameters = append(op.Parameters, shown)
		}
	}
	request, _ := b.resolve(o.at("requestBody"))
	op.Bodies = b.bodies(request)
	for status, answer := range o.at("responses").each {
		answer, _ = b.resolve(answer)
		op.Answers = append(op.Answers, docsAnswer{status, prose(answer.at("description").text()), b.bodies(answer)})
	}
	return op
}

func (b docsBuilder) bodies(of node) (list []docsBody) {
	for kind, media := range of.at("content").each {
		list = append(list, docsBody{kind, b.property("", media.at("schema"), false)})
	}
	return list
}

// property shows a schema: of one that it refers to the name alone, since that has a place of its own.
func (b docsBuilder) property(name string, schema node, required bool) docsProperty {
	p := docsProperty{Name: name, Required: required, Description: prose(schema.at("description").text())}
	if _, p.Ref = b.resolve(schema); p.Ref != "" {
		return p
	}
	p.Kind = schema.at("type").text()
	for _, about := range []struct{ key, says string }{
		{"enum", "one of "}, {"const", "always "}, {"default", "default "}, {"minimum", "from "}, {"maximum", "to "}, {"pattern", "as "}, {"format", ""},
	} {
		if text := schema.at(about.key).text(); text != "" {
			p.Kind = strings.TrimPrefix(p.Kind+", "+about.says+text, ", ")
		}
	}
	needed := map[string]bool{}
	for _, key := range schema.at("required").each {
		needed[key.text()] = true
	}
	for key, below := range schema.at("properties").each {
		p.Properties = append(p.Properties, b.property(key, below, needed[key]))
	}
	if items := schema.at("items"); items.Node != nil {
		p.Properties = append(p.Properties, b.property("", items, false))
	}
	for key, says := range map[string]string{"allOf": "all of", "oneOf": "one of", "anyOf": "any of"} {
		for _, part := range schema.at(key).each {
			if part.at("not").Node != nil {
				continue
			}
			p.Kind = strings.TrimPrefix(strings.TrimSuffix(p.Kind, ", "+says)+", "+says, ", ")
			p.Properties = append(p.Properties, b.property("", part, false))
		}
	}
	return p
}

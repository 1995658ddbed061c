package v1

import (
	_ "embed" // the document
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"go.yaml.in/yaml/v3"

	"elstore/api/rest"
)

//go:embed openapi.yaml
var openapi []byte

// document is the OpenAPI document as JSON.
var document = sync.OnceValues(func() (json.RawMessage, error) {
	var doc any
	if err := yaml.Unmarshal(openapi, &doc); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return json.Marshal(doc)
})

func openapiJSON(w http.ResponseWriter, _ *http.Request) error {
	doc, err := document()
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, doc)
}

func openapiYAML(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/yaml") // RFC 9512
	h.Set("Content-Length", strconv.Itoa(len(openapi)))
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(openapi) // it fails only if the client is gone
	return nil
}

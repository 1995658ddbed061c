package v1

import (
	"net/http"
	"runtime"

	"elstore/api/rest"
)

// version tells which server this is.
func (a *API) version(w http.ResponseWriter, _ *http.Request) error {
	return rest.Reply(w, http.StatusOK, map[string]any{
		"name":         "elstore",
		"version":      a.cfg.Version,
		"build":        map[string]string{"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH},
		"api_versions": []string{"1.0"},
	})
}

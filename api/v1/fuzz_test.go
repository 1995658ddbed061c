package v1_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"elstore/api"
)

// FuzzRequests sends anything to every route: nothing is answered with 500, every refusal is JSON with a code, and
// every answer is as the document says.
func FuzzRequests(f *testing.F) {
	s := newServer(f, `{"max-volumes": 20, "max-volume-size": "1M", "max-total-size": "10M"}`)
	routes := s.routes()
	handler := api.New(api.Config{Routes: routes, Log: slog.New(slog.DiscardHandler)})
	id := s.create("target", 0.0001)
	document := base64.RawURLEncoding.EncodeToString([]byte(`{"creatorID": "` + alice + `", "name": "n", "expectedFiles": 2}`))
	bodies := []string{
		``, `{}`, `[]`, `null`, newVolume("size", "0.0001"), newVolume("size", `"1e-4", "format": "qcow2", "read_iops": 1e3, "x": {"y": [null]}`),
		"[" + newVolume("size", "0.0001") + "]", `{"client_uid": "` + alice + `", "limit": 1, "name": "target", "x": 1}`,
		`{"volume_id": "` + id + `", "creatorID": "` + alice + `", "name": "c", "purge": false}`,
		`{"vid": "` + id + `", "creatorID": "` + alice + `", "name": "n", "bus": "ide", "note": null, "size": 0.0002, "format": "raw", "newCreatorID": "` + alice + `"}`,
		`{"size": 1, "pool": "pool"}`, `{"volume_ids": ["` + id + `"], "client_uid": "` + alice + `", "destination": {"client_uid": "` + bob + `"}, "owner": "source"}`, newVolume("url", `"http://127.0.0.1/"`), newVolume("path", `"/etc/passwd", "overlay": true`),
		"--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + newVolume("size", "0.0001") + "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nxxxx\r\n--b--\r\n",
	}
	for i := range routes {
		for j, body := range bodies {
			f.Add(uint8(i), body, []string{"", "client_uid=" + alice, "size=1&format=raw", "state=done&volume=" + id, "type=job&format=qcow2&checksum=x"}[j%5], "bytes 0-3/4", j%2 == 0)
		}
	}
	// What has no end ends at once.
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	f.Fuzz(func(t *testing.T, n uint8, body, query, contentRange string, later bool) {
		route := routes[int(n)%len(routes)]
		path := strings.NewReplacer("{vid}", id, "{id}", "nojob", "{name}", "pool", "{path...}", "a/b", "{json...}", document).Replace(route.Path)
		for _, method := range route.Methods {
			r := httptest.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if strings.Contains(route.Path, "events") || strings.HasSuffix(route.Path, "stream") {
				r = r.WithContext(ended)
			}
			r.URL.RawQuery = query
			if later {
				r.Header.Set("Prefer", "respond-async")
			}
			if contentRange != "" {
				r.Header.Set("Content-Range", contentRange)
				r.Header.Set("Range", contentRange)
			}
			if strings.HasSuffix(route.Path, "/create/upload") || strings.HasPrefix(route.Path, "/cloudinit/metadata/") {
				r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
			}
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			judge(t, r, rec)
		}
	})
}

// judge checks what every answer has to be.
func judge(t *testing.T, r *http.Request, rec *httptest.ResponseRecorder) {
	t.Helper()
	a := answer{t, rec.Code, rec.Header(), rec.Body.Bytes()}
	if rec.Code == http.StatusInternalServerError || rec.Code < 200 {
		t.Errorf("%s %s: %s", r.Method, r.URL, a)
	}
	if rec.Code >= 400 && r.Method != http.MethodHead {
		var e struct{ Error, Code string }
		if err := json.Unmarshal(a.body, &e); err != nil || e.Error == "" || e.Code == "" {
			t.Errorf("%s %s: %s", r.Method, r.URL, a)
		}
	}
	if len(a.body) > 16<<10 { // judging the list of a thousand jobs takes a second
		return
	}
	if err := answered(r, a); err != nil {
		t.Errorf("%s %s: %.300s is not as the document says: %.500v", r.Method, r.URL, a, err)
	}
}

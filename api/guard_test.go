package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"elstore/volume/fault"
)

func TestHosts(t *testing.T) {
	config := testConfig()
	config.AllowedHosts = []string{"Store.Example.com", "proxy:8443"}
	s := serve(t, config)
	for host, want := range map[string]bool{
		"localhost":              true,
		"localhost:7772":         true,
		"LOCALHOST:1":            true,
		"localhost.":             true,
		"127.0.0.1":              true,
		"127.0.0.1:7772":         true,
		"127.9.9.9":              true,
		"[::1]":                  true,
		"[::1]:7772":             true,
		"[::ffff:127.0.0.1]":     true,
		"store.example.com":      true,
		"store.example.com.:443": true,
		"proxy":                  true,
		"evil.example":           false,
		"evil.example:7772":      false,
		"localhost.evil.example": false,
		"evil.localhost.example": false,
		"127.0.0.1.evil.example": false,
		"10.0.0.1":               false,
		"0.0.0.0":                false,
		"[::]":                   false,
		"[fe80::1]":              false,
		"x.store.example.com":    false,
		"2130706433":             false,
	} {
		t.Run(host, func(t *testing.T) {
			for _, path := range []string{"/", "/api/v1.0/jobs", "/nothing"} {
				resp, body := call(t, s, "GET", path, "", "Host", host)
				if !want {
					refusal(t, resp, body, 403, fault.CrossSite)
				} else if resp.StatusCode == 403 {
					t.Errorf("%s: got %s", path, body)
				}
			}
		})
	}
}

// A listener that others reach is asked for by whatever name it has there.
func TestHostsOffLoopback(t *testing.T) {
	h := New(testConfig())
	for name, c := range map[string]struct {
		local string
		want  int
	}{
		"public":           {"192.0.2.1:7772", 200},
		"public 6":         {"[2001:db8::1]:7772", 200},
		"loopback":         {"127.0.0.1:7772", 403},
		"loopback 6":       {"[::1]:7772", 403},
		"loopback, mapped": {"[::ffff:127.0.0.1]:7772", 403},
	} {
		t.Run(name, func(t *testing.T) {
			local, err := net.ResolveTCPAddr("tcp", c.local)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = "store.example.com"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local))))
			if w.Code != c.want {
				t.Errorf("got %d", w.Code)
			}
		})
	}
	t.Run("HTTP/1.0 without a Host", func(t *testing.T) {
		if !isLoopbackHost(plainHost("")) {
			t.Error("refused")
		}
	})
}

func TestOtherSites(t *testing.T) {
	s := serve(t, testConfig())
	for name, c := range map[string]struct {
		header []string
		want   bool
	}{
		"a program":              {nil, true},
		"same origin":            {[]string{"Sec-Fetch-Site", "same-origin"}, true},
		"typed in":               {[]string{"Sec-Fetch-Site", "none"}, true},
		"own Origin":             {[]string{"Origin", s.URL}, true},
		"other site":             {[]string{"Sec-Fetch-Site", "cross-site"}, false},
		"same site, other port":  {[]string{"Sec-Fetch-Site", "same-site"}, false},
		"foreign Origin":         {[]string{"Origin", "https://evil.example"}, false},
		"other port's Origin":    {[]string{"Origin", "http://127.0.0.1:1"}, false},
		"no Origin (sandbox)":    {[]string{"Origin", "null"}, false},
		"site and Origin differ": {[]string{"Sec-Fetch-Site", "cross-site", "Origin", s.URL}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, do := range [][3]string{
				{"POST", "/api/v1.0/echo", `{"name":"n"}`},
				{"GET", "/api/v1.0/jobs", ""},
				{"DELETE", "/api/v1.0/jobs/1", ""},
				{"OPTIONS", "/api/v1.0/echo", ""},
				{"GET", "/", ""},
			} {
				resp, body := call(t, s, do[0], do[1], do[2], c.header...)
				if !c.want {
					refusal(t, resp, body, 403, fault.CrossSite)
				} else if resp.StatusCode >= 300 {
					t.Errorf("%s %s: got %d %s", do[0], do[1], resp.StatusCode, body)
				}
			}
		})
	}
}

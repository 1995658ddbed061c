package v1_test

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkAccessible lists a thousand volumes, as a client sees it.
func BenchmarkAccessible(b *testing.B) {
	s := newServer(b, `{}`)
	for range 1000 {
		s.create("disk", 0.001)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := http.DefaultClient.Do(s.request(http.MethodPost, "/accessible", `{"client_uid": "`+alice+`"}`))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/api/client"
	"elstore/volume/fault"
)

// reprDigest is the header of a body.
func reprDigest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// part answers with the first n bytes of body and then cuts the line.
func part(body string, n int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		says(200, body[:n], append(header, "Content-Length", "10")...)(w)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// TestDownloadAnswers: what servers may answer, into a file and into a stream.
func TestDownloadAnswers(t *testing.T) {
	const a, b = "0123456789", "abcdefghij"
	type answers = []func(http.ResponseWriter)
	tests := []struct {
		name         string
		answers      answers
		file, stream string // what came, or an error that says so
	}{
		{"whole", answers{says(200, a)}, a, a},
		{"empty", answers{says(200, "")}, "", ""},
		{"the right digest", answers{says(200, a, "Repr-Digest", "sha-512=:AA==:, "+reprDigest(a))}, a, a},
		{"the wrong digest", answers{says(200, a, "Repr-Digest", reprDigest(b))}, "!SHA-256", "!SHA-256"},
		{"a digest of nothing that we know", answers{says(200, a, "Repr-Digest", "crc32=:AA==:, sha-256=:x:")}, a, a},
		{"resumed", answers{part(a, 4, "ETag", `"1"`), says(206, a[4:], "ETag", `"1"`, "Content-Range", "bytes 4-9/10")}, a, a},
		{"resumed, with a digest", answers{part(a, 4, "ETag", `"1"`, "Repr-Digest", reprDigest(a)), says(206, a[4:], "ETag", `"1"`, "Content-Range", "bytes 4-9/10")}, a, a},
		{"changed meanwhile", answers{part(a, 4, "ETag", `"1"`), says(200, b, "ETag", `"2"`)}, b, "!changed"},
		{"changed meanwhile, with digests", answers{part(a, 4, "ETag", `"1"`, "Repr-Digest", reprDigest(a)), says(200, b, "ETag", `"2"`)}, b, "!changed"},
		{"a weak tag", answers{part(a, 4, "ETag", `W/"1"`), says(200, a, "ETag", `W/"1"`)}, a, "!changed"},
		{"no tag", answers{part(a, 4), says(200, a)}, a, "!changed"},
		{"shorter now", answers{part(a, 4, "ETag", `"1"`), says(416, `{"error":"beyond","code":"UploadInvalidRange"}`), says(200, "ab")}, "ab", "!changed"},
		{"another range", answers{part(a, 4, "ETag", `"1"`), says(206, a[5:], "ETag", `"1"`, "Content-Range", "bytes 5-9/10")}, "!where byte 4", "!where byte 4"},
		{"no range", answers{part(a, 4, "ETag", `"1"`), says(206, a[5:], "ETag", `"1"`, "Content-Range", "lines 4-9/10")}, "!where byte 4", "!where byte 4"},
		{"more than was said", answers{part(a, 4, "ETag", `"1"`), says(206, a[4:]+"more", "ETag", `"1"`, "Content-Range", "bytes 4-9/10")}, "!more than the 10", "!more than the 10"},
		{"less than was said", answers{
			part(a, 4, "ETag", `"1"`), says(206, a[4:6], "ETag", `"1"`, "Content-Range", "bytes 4-9/10"),
			says(206, a[6:], "ETag", `"1"`, "Content-Range", "bytes 6-9/10"),
		}, a, a},
		{"refused in the middle", answers{part(a, 4, "ETag", `"1"`), says(404, `{"error":"it is gone","code":"VolumeNotFound"}`)}, "!gone", "!gone"},
		{"a server that restarts", answers{says(503, `{"error":"stopping","code":"ShuttingDown"}`), says(200, a)}, a, a},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.img")
			c := serve(t, &recorder{answers: tt.answers}, nil)
			n, err := c.Download(t.Context(), client.DownloadRequest{ID: vid}, path)
			got, rerr := os.ReadFile(path)
			if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				t.Fatal(rerr)
			}
			if err != nil && rerr == nil {
				t.Error("a download that failed left its file")
			}
			outcome(t, "file", string(got), n, err, tt.file)

			var b bytes.Buffer
			c = serve(t, &recorder{answers: tt.answers}, nil)
			n, err = c.DownloadTo(t.Context(), client.DownloadRequest{ID: vid}, &b)
			outcome(t, "stream", b.String(), n, err, tt.stream)
		})
	}
}

func outcome(t *testing.T, what, got string, n int64, err error, want string) {
	t.Helper()
	if text, fails := strings.CutPrefix(want, "!"); fails {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v, want one with %q", what, err, text)
		}
		if text == "SHA-256" && !fault.Is(err, fault.ChecksumMismatch) {
			t.Errorf("%s: code %s", what, fault.CodeOf(err))
		}
		return
	}
	if err != nil || got != want || n != int64(len(want)) {
		t.Errorf("%s: %q of %d bytes, %v; want %q", what, got, n, err, want)
	}
}

// TestDownloadRequest: what is asked for, first and again.
func TestDownloadRequest(t *testing.T) {
	var got []string
	answers := []func(http.ResponseWriter){part("0123456789", 4, "ETag", `"1"`), says(206, "456789", "ETag", `"1"`, "Content-Range", "bytes 4-9/10")}
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		answers[len(got)-1](w)
	}), nil)
	if _, err := c.DownloadTo(t.Context(), client.DownloadRequest{ID: vid, By: me, Format: "qcow2"}, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	const path = "GET /api/v1.0/volumes/" + vid + "/data?client_uid=" + me + "&format=qcow2 "
	if want := path + " |" + path + `bytes=4- "1"`; strings.Join(got, "|") != want {
		t.Errorf("asked\n%s, want\n%s", strings.Join(got, "|"), want)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDownloadWithNowhereToGo(t *testing.T) {
	rec := &recorder{answers: []func(http.ResponseWriter){says(200, "0123456789")}}
	c := serve(t, rec, nil)
	if _, err := c.DownloadTo(t.Context(), client.DownloadRequest{ID: vid}, full{}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	if n := len(rec.requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

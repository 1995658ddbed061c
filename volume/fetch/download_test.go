package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"elstore/volume/fault"
)

// memory is a File in memory whose writes can fail.
type memory struct {
	data      []byte
	err       error // of writing past failAt
	failAt    int64
	truncErr  error // of truncating to truncFrom or more
	truncFrom int64
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if m.err != nil && at+int64(len(p)) > m.failAt {
		return 0, m.err
	}
	if need := at + int64(len(p)); need > int64(len(m.data)) {
		m.data = append(m.data, make([]byte, need-int64(len(m.data)))...)
	}
	return copy(m.data[at:], p), nil
}

func (m *memory) Truncate(size int64) error {
	if m.truncErr != nil && size >= m.truncFrom {
		return m.truncErr
	}
	if size > int64(len(m.data)) {
		m.data = append(m.data, make([]byte, size-int64(len(m.data)))...)
	}
	m.data = m.data[:size]
	return nil
}

func TestDownload(t *testing.T) {
	for name, size := range map[string]int{
		"empty": 0, "one byte": 1, "under a chunk": chunk - 1, "a chunk": chunk, "over a chunk": chunk + 1, "many": 10*chunk + 123,
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, length known %v", name, known), func(t *testing.T) {
				content := image(size)
				s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/x-qemu-disk")
					if known {
						w.Header().Set("Content-Length", strconv.Itoa(size))
					} else {
						_ = http.NewResponseController(w).Flush()
					}
					_, _ = w.Write(content)
				})
				file, h512 := &memory{data: []byte("what was there before")}, sha512.New()
				var seen []int64
				got, err := client(t, local()).Download(t.Context(), s.URL, file, func(done, total int64) {
					if known && total != int64(size) || !known && total != -1 {
						t.Errorf("total %d", total)
					}
					seen = append(seen, done)
				}, h512)
				if err != nil {
					t.Fatal(err)
				}
				want := Result{int64(size), sha256.Sum256(content), "application/x-qemu-disk"}
				if got != want || !bytes.Equal(file.data, content) {
					t.Errorf("got %+v and %d bytes", got, len(file.data))
				}
				if sum := sha512.Sum512(content); !bytes.Equal(h512.Sum(nil), sum[:]) {
					t.Error("the further hash is of something else")
				}
				if !slices.IsSorted(seen) || size > 0 && seen[len(seen)-1] != int64(size) {
					t.Errorf("progress %v", seen)
				}
			})
		}
	}
}

// flaky serves content and breaks off after the number of bytes that breaks says, try by try.
type flaky struct {
	content []byte
	breaks  []int    // bytes of body per try; what comes after is served whole
	header  []string // names and values in turn
	ranges  bool     // whether it goes on where it is asked to
	asked   []string // Range and If-Range of each try
	meddle  func(f *flaky, try int)
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	try := len(f.asked)
	f.asked = append(f.asked, strings.Trim(r.Header.Get("Range")+" "+r.Header.Get("If-Range"), " "))
	if f.meddle != nil {
		f.meddle(f, try)
	}
	for i := 0; i < len(f.header); i += 2 {
		w.Header().Set(f.header[i], f.header[i+1])
	}
	if try < len(f.breaks) {
		w = &breaking{w, f.breaks[try]}
	}
	if !f.ranges {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "image", time.Time{}, bytes.NewReader(f.content))
}

// breaking cuts the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

func TestDownloadGoesOn(t *testing.T) {
	content, other := image(300_000), bytes.Repeat([]byte("other "), 40_000)
	tag := []string{"ETag", `"v1"`}
	date := []string{"Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"}
	for name, c := range map[string]struct {
		server flaky
		want   []byte
		asked  []string
	}{
		"once": {
			flaky{content: content, breaks: []int{100_000}, header: tag, ranges: true},
			content,
			[]string{"", `bytes=100000- "v1"`},
		},
		"three times": {
			flaky{content: content, breaks: []int{1000, 100_000, 50_000}, header: tag, ranges: true},
			content,
			[]string{"", `bytes=1000- "v1"`, `bytes=101000- "v1"`, `bytes=151000- "v1"`},
		},
		"by date": {
			flaky{content: content, breaks: []int{100_000}, header: date, ranges: true},
			content,
			[]string{"", "bytes=100000- Mon, 02 Jan 2006 15:04:05 GMT"},
		},
		"before the first byte": {
			flaky{content: content, breaks: []int{0}, header: tag, ranges: true},
			content,
			[]string{"", ""},
		},
		"nothing proves it is the same": {
			flaky{content: content, breaks: []int{100_000}, ranges: true},
			content,
			[]string{"", ""},
		},
		"weak tag": {
			flaky{content: content, breaks: []int{100_000}, header: []string{"ETag", `W/"v1"`}, ranges: true},
			content,
			[]string{"", ""},
		},
		"the server can't skip": {
			flaky{content: content, breaks: []int{100_000}, header: tag},
			content,
			[]string{"", `bytes=100000- "v1"`},
		},
		"the content changed": {
			flaky{content: content, breaks: []int{100_000}, header: tag, ranges: true, meddle: func(f *flaky, try int) {
				if try == 1 {
					f.content, f.header = other, []string{"ETag", `"v2"`}
				}
			}},
			other,
			[]string{"", `bytes=100000- "v1"`},
		},
		"the content changed and shrank": {
			flaky{content: content, breaks: []int{100_000}, header: tag, ranges: true, meddle: func(f *flaky, try int) {
				if try == 1 {
					f.content, f.header = other[:50_000], []string{"ETag", `"v2"`}
				}
			}},
			other[:50_000],
			[]string{"", `bytes=100000- "v1"`},
		},
		"the size changed under the same tag": {
			flaky{content: content, breaks: []int{100_000}, header: tag, ranges: true, meddle: func(f *flaky, try int) {
				if try == 1 {
					f.content = other
				}
			}},
			other,
			[]string{"", `bytes=100000- "v1"`, ""},
		},
		"shrunk under the same tag": {
			flaky{content: content, breaks: []int{100_000}, header: tag, ranges: true, meddle: func(f *flaky, try int) {
				if try == 1 {
					f.content = other[:5000]
				}
			}},
			other[:5000],
			[]string{"", `bytes=100000- "v1"`, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.server.ServeHTTP)
			file, further := &memory{}, sha512.New()
			got, err := client(t, local()).Download(t.Context(), s.URL, file, nil, further)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(file.data, c.want) || got.SHA256 != sha256.Sum256(c.want) || got.Bytes != int64(len(c.want)) {
				t.Errorf("got %d bytes, %+v", len(file.data), got)
			}
			if sum := sha512.Sum512(c.want); !bytes.Equal(further.Sum(nil), sum[:]) {
				t.Error("the further hash is of something else")
			}
			if !slices.Equal(c.server.asked, c.asked) {
				t.Errorf("asked %q\nwant %q", c.server.asked, c.asked)
			}
		})
	}
}

func TestDownloadGivesUp(t *testing.T) {
	content := image(10_000)
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		says  string
		tries int
	}{
		"always breaks": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(&breaking{w, 1000}, r, "image", time.Time{}, bytes.NewReader(content))
		}, "stopped at byte 3000 of 10000", 3},
		"says more than it sends": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "20000")
			_, _ = w.Write(content)
		}, "stopped at byte 10000 of 20000", 3},
		"range says more than it sends": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") == "" {
				http.ServeContent(&breaking{w, 5000}, r, "image", time.Time{}, bytes.NewReader(content))
				return
			}
			w.Header().Set("Content-Range", "bytes 5000-9999/10000")
			w.WriteHeader(http.StatusPartialContent)
			_ = http.NewResponseController(w).Flush() // no length, so that nothing but the range tells
		}, "stopped at byte 5000 of 10000", 3},
		"range of unknown size, short": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") == "" {
				http.ServeContent(&breaking{w, 5000}, r, "image", time.Time{}, bytes.NewReader(content))
				return
			}
			w.Header().Set("Content-Range", "bytes 5000-8999/*")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(content[5000:9000])
		}, "stopped at byte 5000 of 10000", 4},
		"gone when asked again": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") == "" {
				http.ServeContent(&breaking{w, 5000}, r, "image", time.Time{}, bytes.NewReader(content))
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}, "asks for credentials or forbids it (status 403)", 2},
		"trouble":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, "has a server in trouble (status 502)", 3},
		"not there": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "is not there (status 404)", 1},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(content)
			}
		}, "is larger than 1000000 bytes, which is the most that is fetched", 1},
		"HTML": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html>") }, "a web page (HTML)", 1},
		"garbage for HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
				_ = conn.Close()
			}
		}, "can't be fetched", 3},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			s := serve(t, func(w http.ResponseWriter, r *http.Request) { tries++; c.h(w, r) })
			config := local()
			config.Tries, config.MaxBytes = 3, 1_000_000
			_, err := client(t, config).Download(t.Context(), s.URL+"/?hunter2", &memory{}, nil)
			if !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if tries != c.tries {
				t.Errorf("%d tries, want %d", tries, c.tries)
			}
		})
	}
}

// Every try gains more than enough, so that no number of breaks ends the download.
func TestGainsRenewTheTries(t *testing.T) {
	server := &flaky{content: image(12 << 20), header: []string{"ETag", `"v1"`}, ranges: true}
	for range 9 {
		server.breaks = append(server.breaks, enough+4096)
	}
	s := serve(t, server.ServeHTTP)
	config := local()
	config.Tries = 2
	file := &memory{}
	if _, err := client(t, config).Download(t.Context(), s.URL, file, nil); err != nil || !bytes.Equal(file.data, server.content) {
		t.Errorf("got %d bytes, %v", len(file.data), err)
	}
	if len(server.asked) != 10 {
		t.Errorf("%d tries", len(server.asked))
	}
}

func TestUnreachableAtFirstIsFinal(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.Close()
	config := local()
	config.Backoff = time.Hour // a second try would hang the test
	_, err := client(t, config).Download(t.Context(), s.URL, &memory{}, nil)
	if !fault.Is(err, fault.FetchFailed) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestDownloadFileFails(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(image(3 * chunk)) })
	ours := errors.New("somebody's limit")
	for name, c := range map[string]struct {
		file *memory
		code fault.Code
		is   error
	}{
		"full disk":  {&memory{err: syscall.ENOSPC, failAt: chunk}, fault.PoolFull, syscall.ENOSPC},
		"read-only":  {&memory{truncErr: syscall.EROFS}, fault.PoolUnavailable, syscall.EROFS},
		"can't grow": {&memory{truncErr: syscall.EFBIG, truncFrom: 1}, fault.PoolFull, syscall.EFBIG},
		"a fault":    {&memory{err: fault.Errorf(fault.PoolFull, "x: %w", ours), failAt: chunk}, fault.PoolFull, ours},
		"unknown":    {&memory{err: ours}, fault.InternalError, ours},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client(t, local()).Download(t.Context(), s.URL, c.file, nil); !fault.Is(err, c.code) || !errors.Is(err, c.is) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDownloadIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	tries := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tries++
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(image(2 * chunk))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	_, err := client(t, local()).Download(ctx, s.URL, &memory{}, func(int64, int64) { cancel(context.Canceled) })
	if !fault.Is(err, fault.JobCancelled) || tries != 1 {
		t.Errorf("got %v after %d tries", err, tries)
	}
}

// Zeros take no room on the disk, at the end either.
func TestDownloadStaysSparse(t *testing.T) {
	content := make([]byte, 64*chunk)
	copy(content[20*chunk+5:], "here")
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	path := filepath.Join(t.TempDir(), "image")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("what was there before"); err != nil {
		t.Fatal(err)
	}
	got, err := client(t, local()).Download(t.Context(), s.URL, file, nil)
	if err != nil || got.SHA256 != sha256.Sum256(content) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, content) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 4*chunk {
		t.Errorf("%d bytes are used for one chunk of data", used)
	}
}

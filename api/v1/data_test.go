package v1_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/volume"
)

// noise is n bytes that no program takes for a format, the same for the same seed.
func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func dataPath(id, query string) string {
	if query != "" {
		query = "?" + query
	}
	return "/volumes/" + id + "/data" + query
}

// put uploads bytes first to last of an image of total bytes.
func (s *server) put(id string, image []byte, first, last int, total string, headers ...header) answer {
	s.t.Helper()
	headers = append(headers, header{"Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, last, total)})
	return s.do(http.MethodPut, dataPath(id, "creatorID="+alice), bytes.NewReader(image[first:last+1]), headers...)
}

// offset asks how much of an upload is there.
func (s *server) offset(id string) string {
	s.t.Helper()
	return s.do(http.MethodHead, dataPath(id, ""), nil).want(200).header.Get("Upload-Offset")
}

// content downloads the volume as raw.
func (s *server) content(id string) []byte {
	s.t.Helper()
	return s.get(dataPath(id, "format=raw")).want(200).body
}

func TestUploadWhole(t *testing.T) { onBoth(t, testUploadWhole) }

func testUploadWhole(t *testing.T, s *server) {
	need.Program(t, "qemu-img")
	for _, format := range s.formats {
		id := s.create(format, 0.002, "format", format)
		size := int(s.record(id)["size"].(float64))
		image := noise(1, size/2)
		sum := sha256.Sum256(image)
		digest := header{"Repr-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}
		got := s.do(http.MethodPut, dataPath(id, ""), bytes.NewReader(image), digest).want(200)
		want := map[string]any{"vid": id, "received": float64(len(image)), "total": float64(len(image)), "complete": true}
		if fmt.Sprint(got.object()) != fmt.Sprint(want) || got.header.Get("Upload-Offset") != strconv.Itoa(len(image)) {
			t.Errorf("%s", got)
		}
		if !bytes.Equal(s.content(id), append(image, make([]byte, size-len(image))...)) {
			t.Errorf("the content of a %s volume is not what was uploaded", format)
		}
		if off := s.offset(id); off != "0" {
			t.Errorf("%s bytes of an upload are there", off)
		}
	}
}

func TestUploadInPieces(t *testing.T) { onBoth(t, testUploadInPieces) }

func testUploadInPieces(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	size := int(s.record(id)["size"].(float64))
	image := noise(2, size)
	total := strconv.Itoa(size)
	before := s.content(id)

	first := s.put(id, image, 0, 99_999, "*").want(http.StatusAccepted).object()
	if first["received"] != 100_000.0 || first["total"] != nil || first["complete"] != false {
		t.Errorf("%v", first)
	}
	if off := s.offset(id); off != "100000" {
		t.Errorf("%s bytes are there", off)
	}
	for _, at := range []int{99_999, 100_001, 500_000} {
		got := s.put(id, image, at, size-1, total).want(409, "UploadOffset")
		if got.object()["received"] != 100_000.0 || got.header.Get("Upload-Offset") != "100000" {
			t.Errorf("%s", got)
		}
	}
	if !bytes.Equal(s.content(id), before) {
		t.Error("the content changed before the image was whole")
	}
	s.put(id, image, 100_000, 199_999, total).want(http.StatusAccepted)
	last := s.put(id, image, 200_000, size-1, total).want(200).object()
	if last["complete"] != true || last["received"] != float64(size) {
		t.Errorf("%v", last)
	}
	if !bytes.Equal(s.content(id), image) {
		t.Error("the content is not what was uploaded")
	}

	// From the beginning again, and given up.
	s.put(id, noise(3, size), 0, 999, total).want(http.StatusAccepted)
	for range 2 {
		if got := s.do(http.MethodDelete, dataPath(id, ""), nil).want(200).object(); got["received"] != 0.0 {
			t.Errorf("%v", got)
		}
	}
	if off := s.offset(id); off != "0" || !bytes.Equal(s.content(id), image) {
		t.Errorf("%s bytes are there", off)
	}
}

func TestUploadRespondAsync(t *testing.T) { onBoth(t, testUploadRespondAsync) }

func testUploadRespondAsync(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	size := int(s.record(id)["size"].(float64))
	image := noise(4, size)
	s.put(id, image, 0, 999, strconv.Itoa(size), async).want(http.StatusAccepted)
	if off := s.offset(id); off != "1000" { // a piece that was answered is there
		t.Errorf("%s bytes are there", off)
	}
	job := s.wait(s.put(id, image, 1000, size-1, strconv.Itoa(size), async))
	if job["state"] != "done" || job["kind"] != "upload" || job["result"].(map[string]any)["complete"] != true {
		t.Errorf("%v", job)
	}
	if !bytes.Equal(s.content(id), image) {
		t.Error("the content is not what was uploaded")
	}
	// What is refused at once is told at once.
	s.put(id, image, 5, size-1, strconv.Itoa(size), async).want(409, "UploadOffset")
	s.do(http.MethodPut, dataPath(bob, ""), bytes.NewReader(image), async).want(404, "VolumeNotFound")
}

func TestUploadRefuses(t *testing.T) { onBoth(t, testUploadRefuses) }

func testUploadRefuses(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	readonly := s.create("readonly", 0.001, "readonly", true)
	private := s.create("private", 0.001, "private", true)
	size := int(s.record(id)["size"].(float64))
	image := noise(5, size)
	ranged := func(text string) []header { return []header{{"Content-Range", text}} }
	tests := []struct {
		name    string
		id      string
		query   string
		body    string
		headers []header
		status  int
		code    string
	}{
		{"no id", "disk", "", "x", nil, 400, "BadRequest"},
		{"id with a slash", "%2e%2e%2f%2e%2e", "", "x", nil, 400, "BadRequest"},
		{"not there", bob, "", "x", nil, 404, "VolumeNotFound"},
		{"private", private, "client_uid=" + bob, "x", nil, 404, "VolumeNotFound"},
		{"somebody else's", id, "creatorID=" + bob, "x", nil, 403, "NotAllowed"},
		{"read-only", readonly, "", "x", nil, 409, "VolumeReadOnly"},
		{"nothing", id, "", "", nil, 400, "BadRequest"},
		{"larger than the volume", id, "", string(image) + "x", nil, 416, "UploadInvalidRange"},
		{"unknown format", id, "format=doc", "x", nil, 400, "UnsupportedFormat"},
		{"not of the format", id, "format=qcow2", strings.Repeat("x", 4096), nil, 400, "ImageRefused"},
		{"a qcow2 header", id, "", "QFI\xfb\x00\x00\x00\x03" + strings.Repeat("\x00", 4096), nil, 400, "ImageRefused"},
		{"wrong checksum", id, "checksum=" + strings.Repeat("0", 64), "x", nil, 400, "ChecksumMismatch"},
		{"malformed checksum", id, "checksum=md5:0", "x", nil, 400, "BadRequest"},
		{"wrong digest", id, "", "x", []header{{"Repr-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}}, 400, "ChecksumMismatch"},
		{"malformed digest", id, "", "x", []header{{"Repr-Digest", "sha-256=x"}}, 400, "BadRequest"},
		{"two digests that differ", id, "checksum=" + strings.Repeat("1", 64), "x", []header{{"Repr-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}}, 400, "BadRequest"},
		{"compressed", id, "", "x", []header{{"Content-Encoding", "gzip"}}, 400, "BadRequest"},
		{"malformed range", id, "", "x", ranged("0-0/1"), 416, "UploadInvalidRange"},
		{"two ranges", id, "", "x", append(ranged("bytes 0-0/1"), ranged("bytes 0-0/1")...), 416, "UploadInvalidRange"},
		{"range of no bytes", id, "", "x", ranged("bytes */5"), 416, "UploadInvalidRange"},
		{"range longer than the body", id, "", "x", ranged("bytes 0-1/2"), 416, "UploadInvalidRange"},
		{"range shorter than the body", id, "", "xx", ranged("bytes 0-0/1"), 416, "UploadInvalidRange"},
		{"range past the volume's end", id, "", "x", ranged(fmt.Sprintf("bytes 0-0/%d", size+1)), 416, "UploadInvalidRange"},
		{"range of an unheard-of image", id, "format=qcow2", "x", ranged("bytes 0-0/9223372036854775807"), 416, "UploadInvalidRange"},
		{"not from the beginning", id, "", "x", ranged("bytes 5-5/9"), 409, "UploadOffset"},
	}
	before := s.content(id)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.do(http.MethodPut, dataPath(tt.id, tt.query), tt.body, tt.headers...).want(tt.status, tt.code)
			if off := s.offset(id); off != "0" || !bytes.Equal(s.content(id), before) {
				t.Errorf("it changed something: %s bytes are there", off)
			}
		})
	}
	s.do(http.MethodDelete, dataPath(id, "creatorID="+bob), nil).want(403, "NotAllowed")
	s.do(http.MethodDelete, dataPath("x", ""), nil).want(400, "BadRequest")
	s.do(http.MethodDelete, dataPath(id, "creatorID=x"), nil).want(400, "BadRequest")
	s.do(http.MethodPut, dataPath(id, "creatorID=x"), "x").want(400, "BadRequest")
}

// A line that breaks keeps what came, and the job says so.
func TestUploadBreaksOff(t *testing.T) { onBoth(t, testUploadBreaksOff) }

func testUploadBreaksOff(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	conn := s.dial()
	fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n%s", base, dataPath(id, ""), strings.Repeat("x", 2000))
	job := s.running("upload")
	s.locked(id)
	conn.Close()
	ended, err := s.Jobs.Wait(t.Context(), job)
	if err == nil || ended.Code != "BadRequest" {
		t.Errorf("%+v, %v", ended, err)
	}
	if off, err := strconv.Atoi(s.offset(id)); err != nil || off > 2000 {
		t.Errorf("%d bytes are there", off)
	}
	if got := s.Pools.Infos()[0]; !got.Valid {
		t.Errorf("%+v", got)
	}
}

// An upload whose client is silent can be cancelled, and then the volume is free.
func TestUploadIsCancelled(t *testing.T) { onBoth(t, testUploadIsCancelled) }

func testUploadIsCancelled(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	conn := s.dial()
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nx", base, dataPath(id, ""))
	job := s.running("upload")
	if got := s.locked(id); got["operation"] != "upload" {
		t.Errorf("%v", got)
	}
	s.post("/update", owned(id, "name", "busy")).want(409, "VolumeAlredyLocked")
	if got := s.do(http.MethodDelete, "/jobs/"+job, nil).want(200).object(); got["state"] != "cancelled" {
		t.Errorf("%v", got)
	}
	s.post("/update", owned(id, "name", "free")).want(200)
}

func TestDownload(t *testing.T) { onBoth(t, testDownload) }

func testDownload(t *testing.T, s *server) {
	need.Program(t, "qemu-img")
	id := s.create("a \"disk\"/ü", 0.001)
	size := int(s.record(id)["size"].(float64))
	image := noise(6, size)
	s.put(id, image, 0, size-1, strconv.Itoa(size)).want(200)

	whole := s.get(dataPath(id, "")).want(200)
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Length": strconv.Itoa(size), "Accept-Ranges": "bytes",
		"Volume-Format": "raw", "Volume-Size": strconv.Itoa(size), "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment; filename*=utf-8''a%20%22disk%22_%C3%BC.img",
	} {
		if got := whole.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !bytes.Equal(whole.body, image) {
		t.Error("not the image")
	}
	tag := whole.header.Get("ETag")
	if strings.HasPrefix(tag, "W/") || len(tag) < 10 {
		t.Errorf("ETag %s", tag)
	}
	part := header{"Range", "bytes=1000-1999"}
	tests := []struct {
		name    string
		headers []header
		status  int
		body    []byte
	}{
		{"range", []header{part}, 206, image[1000:2000]},
		{"the end", []header{{"Range", "bytes=-10"}}, 206, image[size-10:]},
		{"from some byte on", []header{{"Range", fmt.Sprintf("bytes=%d-", size-1)}}, 206, image[size-1:]},
		{"range of the same", []header{part, {"If-Range", tag}}, 206, image[1000:2000]},
		{"range of another", []header{part, {"If-Range", `"other"`}}, 200, image},
		{"if it changed", []header{{"If-None-Match", tag}}, 304, nil},
		{"if it is the same", []header{{"If-Match", tag}}, 200, image},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.get(dataPath(id, ""), tt.headers...)
			if got.status != tt.status || !bytes.Equal(got.body, tt.body) {
				t.Errorf("status %d, %d bytes", got.status, len(got.body))
			}
		})
	}
	beyond := s.get(dataPath(id, ""), header{"Range", fmt.Sprintf("bytes=%d-", size)}).want(416, "UploadInvalidRange")
	if got := beyond.header.Get("Content-Range"); got != fmt.Sprintf("bytes */%d", size) {
		t.Errorf("Content-Range %q", got)
	}
	s.get(dataPath(id, ""), header{"If-Match", `"other"`}).want(412, "ConditionFailed")

	s.post("/update", owned(id, "name", "plain")).want(200)
	if got := s.get(dataPath(id, "")).want(200).header; got.Get("ETag") != tag || got.Get("Content-Disposition") != "attachment; filename=plain.img" {
		t.Errorf("renamed: %v", got)
	}
	s.do(http.MethodPut, dataPath(id, ""), bytes.NewReader(image[:size-1])).want(200)
	if got := s.get(dataPath(id, ""), part, header{"If-Range", tag}).want(200).header; got.Get("ETag") == tag {
		t.Errorf("replaced: %v", got)
	}
	s.do(http.MethodPut, dataPath(id, ""), bytes.NewReader(image)).want(200)
	converted := s.get(dataPath(id, "format=qcow2")).want(200)
	if !bytes.HasPrefix(converted.body, []byte("QFI\xfb")) || converted.header.Get("Volume-Format") != "qcow2" || !strings.HasPrefix(converted.header.Get("ETag"), "W/") {
		t.Errorf("%v", converted.header)
	}
	other := s.create("other", 0.001)
	s.do(http.MethodPut, dataPath(other, "format=qcow2"), bytes.NewReader(converted.body)).want(200)
	if !bytes.Equal(s.content(other), image) {
		t.Error("there and back it is not the image")
	}
}

func TestDownloadRefuses(t *testing.T) { onBoth(t, testDownloadRefuses) }

func testDownloadRefuses(t *testing.T, s *server) {
	id := s.create("disk", 0.001, "private", true)
	s.get(dataPath(id, "client_uid="+bob)).want(404, "VolumeNotFound")
	s.get(dataPath(bob, "")).want(404, "VolumeNotFound")
	s.get(dataPath("x", "")).want(400, "BadRequest")
	s.get(dataPath(id, "format=rbd")).want(400, "UnsupportedFormat")
	s.get(dataPath(id, "client_uid=x")).want(400, "BadRequest")
	for query, status := range map[string]int{"": 200, "client_uid=" + bob: 404, "client_uid=x": 400} {
		s.do(http.MethodHead, dataPath(id, query), nil).want(status)
	}
	s.do(http.MethodHead, dataPath("x", ""), nil).want(400)
	s.post("/destroy", map[string]string{"volume_id": id}).want(200)
	s.get(dataPath(id, "")).want(404, "VolumeNotFound")
}

// A volume that an export uses can be cloned and downloaded where blocks can be shared, as on a cluster, and is refused elsewhere.
func TestVolumeInUse(t *testing.T) { onBoth(t, testVolumeInUse) }

func testVolumeInUse(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	parsed, err := volume.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	open, err := s.Volumes.Open(t.Context(), parsed, volume.Claim{Export: "iscsi of a machine", Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if got := s.record(id); got["exported"] != true || fmt.Sprint(got["exports"]) != "[iscsi of a machine]" {
		t.Errorf("%v", got)
	}
	if got := s.names(map[string]any{"client_uid": alice, "exported": true}); fmt.Sprint(got) != "[disk]" {
		t.Errorf("%v", got)
	}
	s.post("/update", owned(id, "readonly", true)).want(409, "VolumeInUse")
	s.post("/update/convert", owned(id, "format", "qcow2")).want(409, "VolumeInUse")
	s.post("/update/resize", owned(id, "size", 0.0005, "shrink", true)).want(409, "VolumeInUse")
	s.post("/destroy", map[string]string{"volume_id": id}).want(409, "VolumeCannotBeDeleted")
	s.do(http.MethodPut, dataPath(id, ""), "x").want(409, "VolumeInUse")
	s.post("/update/resize", owned(id, "size", 0.002)).want(200)
	got := s.get(dataPath(id, ""))
	if s.Pools.Infos()[0].Reflink || s.formats[0] == "rbd" {
		if got.want(200); !strings.HasPrefix(got.header.Get("ETag"), "W/") {
			t.Errorf("%v", got.header)
		}
	} else {
		got.want(409, "NoReflink")
		s.post("/clone", map[string]any{"volume_id": id, "creatorID": alice, "name": "c"}).want(409, "NoReflink")
	}
}

func TestHeadOfData(t *testing.T) {
	need.Program(t, "qemu-img")
	s := newServer(t, `{}`)
	id := s.create("disk", 0.002, "format", "qcow2")
	got := s.do(http.MethodHead, dataPath(id, "format=vmdk"), nil).want(200).header
	if got.Get("Volume-Format") != "qcow2" || got.Get("Volume-Size") != strconv.Itoa(int(s.record(id)["size"].(float64))) || got.Get("Upload-Offset") != "0" {
		t.Errorf("%v", got)
	}
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

package v1_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"elstore/test/need"
	"elstore/volume"
)

// metadata posts a file with a JSON document in the path, as the public client does.
func (s *server) metadata(document any, parts ...part) answer {
	s.t.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		s.t.Fatal(err)
	}
	body, kind := form(s.t, parts...)
	return s.post("/cloudinit/metadata/"+base64.StdEncoding.EncodeToString(data), body, kind)
}

func firstCall(expected any) map[string]any {
	return map[string]any{
		"creatorID": alice, "name": "seed", "private": false, "bootable": false, "clonable": true, "alg": "cp", "expectedFiles": expected,
	}
}

var (
	userFile = part{"file", "user-data", "#cloud-config\nhostname: web1\n"}
	metaFile = part{"file", "meta-data", "instance-id: web1\nlocal-hostname: web1\n"}
)

// inSeed reads a file out of a seed's image through the API.
func (s *server) inSeed(id, name string) string {
	s.t.Helper()
	return string(s.get("/iso/" + id + "/files/" + name).want(200).body)
}

// The flow of the public client: first file, no file, second file, one too many, wrong base64.
func TestMetadataFlow(t *testing.T) {
	s := newServer(t, `{}`)
	first := s.metadata(firstCall(2), userFile).want(206).object()
	id := first["vid"].(string)
	if first["missing"] != 1.0 || first["name"] != "seed" {
		t.Errorf("%v", first)
	}
	if names, _ := filepath.Glob(filepath.Join(s.pool, "vid."+id+".elimg", "cloud-init-metadata", "*")); len(names) != 2 {
		t.Errorf("on disk %q", names)
	}
	next := map[string]any{"vid": id}
	if got := s.metadata(next).want(400, "BadRequest").object(); got["error"] != "request was badly formatted. 'file'" {
		t.Errorf("%v", got)
	}
	if r := s.record(id); r["cloudinit"] != true || r["readonly"] != true || r["size"] != 0.0 {
		t.Errorf("%v", r)
	}
	again := part{"file", "user-data", "#cloud-config\nhostname: web2\n"}
	s.metadata(next, again).want(206)
	last := s.metadata(next, metaFile).want(200).object()
	if last["vid"] != id || last["complete"] != true {
		t.Errorf("%v", last)
	}
	for _, p := range []part{metaFile, {"file", "script.sh", "#!/bin/sh\n"}} {
		if got := s.metadata(next, p).want(500, "CloudInitMetafilesNumberExceeded").object(); got["vid"] != id {
			t.Errorf("the keys are not repeated: %v", got)
		}
	}
	body, kind := form(t, metaFile)
	s.post("/cloudinit/metadata/!!!not-base64", body, kind).want(400, "BadRequest")
	if got := s.inSeed(id, "user-data"); got != again.content {
		t.Errorf("%q", got)
	}
	seed := s.get("/cloudinit/" + id).want(200).object()
	if seed["instance_id"] != "web1" || seed["complete"] != true || len(seed["files"].([]any)) != 2 {
		t.Errorf("%v", seed)
	}
	if r := s.record(id); r["size"] == 0.0 || r["format"] != "iso" {
		t.Errorf("%v", r)
	}
	s.post("/destroy", map[string]any{"volume_id": id}).want(200)
}

// The base64 may be of either alphabet, padded or not, percent-encoded or not, with slashes in it and after it.
func TestMetadataBase64(t *testing.T) {
	s := newServer(t, `{}`)
	document := firstCall(2)
	document["name"] = "ÿÿ>>>???~~~ÿ" // which gives + and /; two slashes in a row no UTF-8 gives
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data[:len(data)-1], []byte(`,"x":"???ÿÿÿ>>>???"}`)...)
	std := base64.StdEncoding.EncodeToString(data)
	if !strings.ContainsAny(std, "/+") {
		t.Fatalf("%s proves nothing", std)
	}
	for name, text := range map[string]string{
		"standard": std, "URL-safe": base64.URLEncoding.EncodeToString(data), "unpadded": strings.TrimRight(std, "="),
		"URL-safe, unpadded": base64.RawURLEncoding.EncodeToString(data), "percent-encoded": url.PathEscape(std), "all percent-encoded": strings.ReplaceAll(url.QueryEscape(std), "+", "%2B"),
		"slash after it": std + "/", "unpadded, slash after it": strings.TrimRight(std, "=") + "/",
	} {
		body, kind := form(t, userFile)
		got := s.post("/cloudinit/metadata/"+text, body, kind).want(206).object()
		if got["name"] != document["name"] {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMetadataRefuses(t *testing.T) {
	s := newServer(t, `{}`)
	id := s.metadata(firstCall(3), userFile).want(206).object()["vid"].(string)
	before := s.state()
	for _, n := range []any{0, 1, -3, 1_000_000, 1.5, "many", nil, 1e300} {
		s.metadata(firstCall(n), userFile).want(400, "BadRequest")
	}
	for _, key := range []string{"creatorID", "name", "expectedFiles"} {
		document := firstCall(2)
		delete(document, key)
		if got := s.metadata(document, userFile).want(400, "BadRequest").object(); got["error"] != "request was badly formatted. '"+key+"'" {
			t.Errorf("%v", got)
		}
	}
	for _, name := range []string{"../../evil", "a/b", "..", ".", "a\x01b", strings.Repeat("x", 300), "elemento.2.expected", "elemento.edit"} {
		s.metadata(map[string]any{"vid": id}, part{"file", name, "x"}).want(400, "BadRequest")
		s.metadata(firstCall(2), part{"file", name, "x"}).want(400, "BadRequest")
	}
	bad := s.metadata(firstCall(2), part{"file", "user-data", "#cloud-config\nhostname: a\npackages: vim\n"}).want(400, "CloudInitMetadataUploadFailed").object()
	if e := bad["error"].(string); !strings.Contains(e, "user-data line 3") || !strings.Contains(e, "a list was expected") {
		t.Errorf("%v", bad)
	}
	big := s.metadata(firstCall(2), part{"file", "user-data", "#!/bin/sh\n" + strings.Repeat("x", 20_000_000)}).want(413, "BodyTooLarge").object()
	if !strings.Contains(big["error"].(string), "16 MiB") {
		t.Errorf("%v", big)
	}
	s.metadata(map[string]any{"vid": strings.Repeat("0", 32)}, userFile).want(404, "VolumeNotFound")
	s.metadata(map[string]any{"vid": "nonsense"}, userFile).want(400)
	s.metadata(map[string]any{"vid": id, "creatorID": bob}, userFile).want(403, "NotAllowed")
	s.metadata(map[string]any{"vid": id}, part{"other", "user-data", "x"}).want(400, "BadRequest")
	s.metadata(map[string]any{"vid": id}, part{"file", "", "x"}).want(400, "BadRequest")
	for _, document := range []string{`[]`, `"x"`, `{`, `{}{}`, "\xff"} {
		body, kind := form(t, userFile)
		s.post("/cloudinit/metadata/"+base64.URLEncoding.EncodeToString([]byte(document)), body, kind).want(400, "BadRequest")
	}
	good := base64.URLEncoding.EncodeToString(fmt.Appendf(nil, `{"vid":%q}`, id))
	s.post("/cloudinit/metadata/"+good, "x", header{"Content-Type", "multipart/form-data"}).want(400, "BadRequest")
	s.post("/cloudinit/metadata/"+good, "--b\r\nnonsense", header{"Content-Type", "multipart/form-data; boundary=b"}).want(400, "BadRequest")
	s.post("/cloudinit/metadata/"+good, "x", header{"Content-Type", "text/plain"}).want(400, "BadRequest")
	if after := s.state(); after != before {
		t.Errorf("refusals left something:\n%s\n%s", before, after)
	}
	disk := s.create("disk", 1)
	s.metadata(map[string]any{"vid": disk}, userFile).want(409, "CloudInitExpectedFilesTrackerNotFound")
	s.get("/cloudinit/"+disk).want(409, "CloudInitExpectedFilesTrackerNotFound")
}

func TestSeedIsEdited(t *testing.T) {
	s := newServer(t, `{}`)
	id := s.metadata(firstCall(2), userFile).want(206).object()["vid"].(string)
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data", "#!/bin/sh\n").want(403, "VolumeNotExportable")
	s.metadata(map[string]any{"vid": id}, metaFile).want(200)
	if got := s.get("/cloudinit/" + id + "/files/meta-data").want(200); string(got.body) != metaFile.content {
		t.Errorf("%s", got)
	}
	s.get("/cloudinit/"+id+"/files/nothing").want(404, "NoSuchPath")
	edited := s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data?creatorID="+alice, "#cloud-config\nhostname: web9\n").want(200).object()
	if edited["instance_id"] == "web1" || s.inSeed(id, "user-data") != "#cloud-config\nhostname: web9\n" {
		t.Errorf("%v", edited)
	}
	if got := s.do(http.MethodDelete, "/cloudinit/"+id+"/files/meta-data", nil).want(200).object(); len(got["files"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data?creatorID="+bob, "#!/bin/sh\n").want(403, "NotAllowed")
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data", "nonsense").want(400, "CloudInitMetadataUploadFailed")
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/..%2fx", "x").want(400, "BadRequest")
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/x", strings.Repeat("x", 17<<20)).want(413, "BodyTooLarge")
	vid, err := volume.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Volumes.Open(t.Context(), vid, volume.Claim{Export: "machine", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data", "#!/bin/sh\n").want(409, "VolumeInUse")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data", "#!/bin/sh\n").want(200)
}

func TestRender(t *testing.T) {
	s := newServer(t, `{}`)
	short := map[string]any{"hostname": "web1", "packages": []string{"nginx"}, "network": map[string]any{"dhcp": true}}
	before := s.state()
	for _, body := range []map[string]any{short, {"seed": short}, {"seed": short, "dry_run": true, "creatorID": alice, "name": "x"}} {
		files := s.post("/cloudinit/render", body).want(200).object()["files"].(map[string]any)
		if len(files) != 3 || !strings.HasPrefix(files["user-data"].(string), "#cloud-config\nhostname: web1\n") {
			t.Errorf("%v", files)
		}
	}
	s.post("/cloudinit/render", map[string]any{"hostnam": "x"}).want(400, "BadRequest")
	s.post("/cloudinit/render", map[string]any{"hostname": "x y"}).want(400, "BadRequest")
	s.post("/cloudinit/render", map[string]any{"seed": short, "hostname": "x"}).want(400, "BadRequest")
	s.post("/cloudinit/render", map[string]any{"seed": short, "name": "x"}).want(400, "BadRequest")
	if after := s.state(); after != before {
		t.Errorf("something was made:\n%s\n%s", before, after)
	}
	rendered := s.post("/cloudinit/render", short).want(200).object()["files"].(map[string]any)
	made := s.post("/cloudinit/render", map[string]any{"seed": short, "creatorID": alice, "name": "seed"}).want(200).object()
	id := made["vid"].(string)
	if got := s.inSeed(id, "user-data"); got != rendered["user-data"] {
		t.Errorf("%q", got)
	}
	s.do(http.MethodPut, "/cloudinit/"+id+"/files/user-data", "password: hunter2\n").want(400, "CloudInitMetadataUploadFailed")
	for _, job := range s.do(http.MethodGet, "/jobs", "").want(200).list() { // anybody may look at jobs
		if text := fmt.Sprint(job, s.do(http.MethodGet, "/jobs/"+job["id"].(string), "")); strings.Contains(text, "hunter2") || strings.Contains(text, "nginx") {
			t.Errorf("a job tells what is in a seed: %s", text)
		}
	}
	if r := s.record(id); r["cloudinit"] != true {
		t.Errorf("%v", r)
	}
}

// A cloud image with its checksums beside it, downloaded once for machines that overlay it.
func TestMachine(t *testing.T) {
	need.Program(t, "qemu-img")
	image := make([]byte, 1<<20)
	copy(image[512:], "cloud image")
	var downloads atomic.Int32
	sums := fmt.Sprintf("%064x  other.img\n%x *image.img\n", 0, sha256.Sum256(image))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good/image.img", "/bad/image.img", "/plain/image.img":
			downloads.Add(1)
			_, _ = w.Write(image)
		case "/good/SHA256SUMS":
			_, _ = w.Write([]byte(sums))
		case "/bad/SHA512SUMS":
			_, _ = fmt.Fprintf(w, "%0128x  image.img\n", 1)
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.img"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, `{}`, func(c *volume.Config) { c.ImportDirs, c.Fetch = []string{dir}, newFetcher(t) })
	wish := func(more ...any) map[string]any {
		body := map[string]any{"creatorID": alice, "name": "machine", "private": false, "clonable": true, "alg": "cp", "format": "qcow2", "bus": "virtio", "size": 1}
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		return body
	}
	first := s.post("/cloudinit/create", wish("url", web.URL+"/good/image.img")).want(200).object()
	r := s.record(first["vid"].(string))
	if first["img_format"] != "qcow2" || first["size"] != 1.0 || r["size"] != 1e9 || r["cloudinit"] != true || r["bootable"] != true || r["readonly"] != false {
		t.Errorf("%v\n%v", first, r)
	}
	for range 3 {
		s.post("/cloudinit/create", wish("url", web.URL+"/good/image.img", "overlay", true)).want(200)
	}
	if n := downloads.Load(); n != 2 {
		t.Errorf("%d downloads, want one and one that the others overlay", n)
	}
	s.post("/cloudinit/create", wish("url", web.URL+"/plain/image.img", "format", "raw", "size", nil)).want(200)
	s.post("/cloudinit/create", wish("url", "file://"+dir+"/image.img")).want(200)
	s.post("/cloudinit/create", wish("url", "file://localhost"+dir+"/%69mage.img")).want(200)
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), fmt.Appendf(nil, "%064x  image.img\n", 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.post("/cloudinit/create", wish("url", "file://"+dir+"/image.img")).want(400, "ChecksumMismatch")
	s.post("/cloudinit/create", wish()).want(200)
	both := s.post("/cloudinit/create", wish("url", web.URL+"/plain/image.img", "seed", map[string]any{"hostname": "web1"})).want(200).object()
	if got := s.inSeed(both["seed"].(string), "user-data"); !strings.Contains(got, "hostname: web1") {
		t.Errorf("%q", got)
	}
	if r := s.record(both["seed"].(string)); r["name"] != "machine-seed" {
		t.Errorf("%v", r)
	}

	before := s.state()
	if got := s.post("/cloudinit/create", wish("size", nil)).want(400, "BadRequest").object(); got["error"] != "request was badly formatted. 'url'" {
		t.Errorf("%v", got)
	}
	s.post("/cloudinit/create", wish("url", web.URL+"/bad/image.img")).want(400, "ChecksumMismatch")
	s.post("/cloudinit/create", wish("seed", map[string]any{"hostname": "a b"})).want(400, "BadRequest")
	for _, u := range []string{web.URL + "/nothing", "http://127.0.0.1:1/x", "nonsense", "ftp://x/y", "file:///etc/passwd", "file://../x", "file://elsewhere" + dir + "/image.img", "file:image.img", "file://" + dir + "/%zz"} {
		s.post("/cloudinit/create", wish("url", u)).want(400, "CloudInitCreateImageDownloadfailed")
	}
	if after := s.state(); after != before {
		t.Errorf("refusals left something:\n%s\n%s", before, after)
	}
}

// FuzzSeedForm sends any path and form: never a 500 but for one file too many.
func FuzzSeedForm(f *testing.F) {
	s := newServer(f, `{}`)
	id := s.metadata(firstCall(2), userFile).object()["vid"].(string)
	good := base64.URLEncoding.EncodeToString(fmt.Appendf(nil, `{"vid":%q}`, id))
	f.Add(good, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nx\r\n--b--\r\n")
	f.Add("e30=", "multipart/form-data", "")
	f.Add("", "text/plain", "--b")
	f.Fuzz(func(t *testing.T, path, kind, body string) {
		req := httptest.NewRequest(http.MethodPost, base+"/cloudinit/metadata/"+url.PathEscape(path), strings.NewReader(body))
		req.Header.Set("Content-Type", kind)
		req.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		s.http.Config.Handler.ServeHTTP(w, req)
		if w.Code >= 500 && !strings.Contains(w.Body.String(), "CloudInitMetafilesNumberExceeded") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

package v1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/volume"
)

// installer is an image like Debian's.
func installer(t testing.TB) []byte {
	t.Helper()
	data, err := iso.Build(iso.Config{Label: "Debian12", Application: "TEST", BIOSBoot: "isolinux/isolinux.bin", UEFIBoot: "boot/efi.img", Files: map[string][]byte{
		".disk/info": []byte("Debian GNU/Linux 12.9.0 \"Bookworm\"\n"), "isolinux/isolinux.bin": make([]byte, 4096), "boot/efi.img": make([]byte, 8192),
		"install.amd/vmlinuz": bytes.Repeat([]byte("kernel"), 3000), "install.amd/a file#%.txt": []byte("odd"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// part is a field of a multipart form.
type part struct{ name, file, content string }

// form is a multipart body and its Content-Type. The names of files are written as they are.
func form(t testing.TB, parts ...part) (*bytes.Buffer, header) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"`, p.name))
		if p.file != "" {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, p.name, p.file))
			h.Set("Content-Type", "application/octet-stream")
		}
		f, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(p.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b, header{"Content-Type", w.FormDataContentType()}
}

// The two examples of the source document, and its other shape of the first.
func TestISOLikeTheDocument(t *testing.T) {
	s := newServer(t, `{}`)
	for _, name := range []string{"iso-tool", "iso-os"} {
		got := s.post("/iso/create", payload(t, name+".request")).want(200).object()
		want := decode[map[string]any](t, []byte(payload(t, name+".response")))
		id := got["vid"].(string)
		for _, key := range []string{"vid", "pool"} {
			delete(got, key)
			delete(want, key)
		}
		if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
			t.Errorf("got  %s\nwant %s", a, b)
		}
		r := s.record(id)
		tool := name == "iso-tool"
		if r["iso_type"] != want["isotype"] || r["bootable"] != !tool || r["readonly"] != true || r["bus"] != "sata" || r["format"] != "iso" {
			t.Errorf("%v", r)
		}
		if size := r["size"].(float64); tool && size != 0 || !tool && size != 15e9 {
			t.Errorf("size %v", size)
		}
	}
	other := s.post("/iso/create", `{"creatorID": "ffffffffffffffffffffffffffffffff", "name": "virtio-win-driver", "private": false, "clonable": true, "alg": "cp", "isotype": "tool", "os_family": "windows", "scope": "drivers", "version": "2021", "size": 15}`).want(200).object()
	if other["tool_scope"] != "drivers" || other["tool_version"] != "2021" {
		t.Errorf("%v", other)
	}
	info, err := os.ReadFile(filepath.Join(s.pool, "vid."+other["vid"].(string)+".elimg", "isoinfo.json"))
	if err != nil || string(info) != `{"isotype":"tool","os_family":"windows","scope":"drivers","version":"2021"}`+"\n" {
		t.Errorf("%s %v", info, err)
	}
	full := decode[map[string]any](t, []byte(payload(t, "iso-os.request")))
	for _, key := range []string{"creatorID", "name", "isotype"} {
		body := map[string]any{}
		for k, v := range full {
			if k != key {
				body[k] = v
			}
		}
		if got := s.post("/iso/create", body).want(400, "BadRequest").object(); got["error"] != "request was badly formatted. '"+key+"'" {
			t.Errorf("%v", got)
		}
	}
	s.post("/iso/create", map[string]any{"creatorID": alice, "name": "x", "isotype": "floppy"}).want(400, "BadRequest")
	s.post("/create", map[string]any{"creatorID": alice, "name": "x", "size": 1, "format": "iso"}).want(400, "VolumeFormatNotAllowed")
}

func TestISOFromEverywhere(t *testing.T) {
	image := installer(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/d.iso":
			_, _ = w.Write(image)
		case "/lies.iso":
			w.Header().Set("Content-Length", fmt.Sprint(len(image)))
			_, _ = w.Write(image[:len(image)/2])
		case "/short.iso":
			_, _ = w.Write(image[:len(image)/2])
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d.iso"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, `{}`, func(c *volume.Config) { c.ImportDirs, c.Fetch = []string{dir}, newFetcher(t) })
	wish := map[string]any{"creatorID": alice, "name": "debian", "isotype": "os_generic"}
	with := func(more ...any) map[string]any {
		body := map[string]any{}
		maps.Copy(body, wish)
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		return body
	}
	document, err := json.Marshal(wish)
	if err != nil {
		t.Fatal(err)
	}
	body, kind := form(t, part{name: "json", content: string(document)}, part{"file", "d.iso", string(image)})
	fields, kind2 := form(t, part{name: "creatorID", content: alice}, part{name: "name", content: "d"}, part{name: "isotype", content: "os_generic"}, part{"file", "d.iso", string(image)})
	for name, got := range map[string]answer{
		"url":    s.post("/iso/create/url", with("url", web.URL+"/d.iso")),
		"path":   s.post("/iso/create", with("path", filepath.Join(dir, "d.iso"), "size", 15)),
		"upload": s.post("/iso/create/upload", body, kind),
		"fields": s.post("/iso/create/upload", fields, kind2),
	} {
		v := got.want(200).object()
		if v["os_family"] != "linux" || v["os_flavour"] != "debian" || v["os_version"] != "12.9.0" {
			t.Errorf("%s: %v", name, v)
		}
		if r := s.record(v["vid"].(string)); r["size"] != float64(len(image)) || r["iso_type"] != "os_generic" {
			t.Errorf("%s: %v", name, r)
		}
	}
	before := s.state()
	page, kind := form(t, part{name: "json", content: string(document)}, part{"file", "d.iso", "<!DOCTYPE html>"})
	bare, kind3 := form(t, part{name: "json", content: string(document)})
	s.post("/iso/create/upload", page, kind).want(400, "ImageRefused")
	s.post("/iso/create/upload", bare, kind3).want(400, "BadRequest")
	s.post("/iso/create/url", with("url", web.URL+"/nothing")).want(400, "FetchFailed")
	s.post("/iso/create/url", with("url", web.URL+"/lies.iso")).want(400, "FetchFailed")
	s.post("/iso/create/url", with("url", web.URL+"/short.iso")).want(400, "ImageRefused")
	s.post("/iso/create/url", with("url", web.URL+"/d.iso", "checksum", "sha256:"+strings.Repeat("00", 32))).want(400, "ChecksumMismatch")
	s.post("/iso/create/url", wish).want(400, "BadRequest")
	s.post("/iso/create", with("path", "/etc/passwd")).want(403, "FetchForbidden")
	s.post("/iso/create", with("path", "/x", "url", "http://x")).want(400, "BadRequest")
	if after := s.state(); after != before {
		t.Errorf("refusals left something:\n%s\n%s", before, after)
	}
}

func TestISOFiles(t *testing.T) {
	s := newServer(t, `{}`)
	body, kind := form(t, part{name: "creatorID", content: alice}, part{name: "name", content: "d"}, part{name: "isotype", content: "os_generic"}, part{name: "private", content: "true"}, part{"file", "d.iso", string(installer(t))})
	id := s.post("/iso/create/upload", body, kind).want(200).object()["vid"].(string)
	all := s.get("/iso/" + id + "/files").want(200).object()
	if all["label"] != "Debian12" || all["application"] != "TEST" || len(all["files"].([]any)) != 9 || fmt.Sprint(all["boot"]) == "[]" {
		t.Errorf("%v", all)
	}
	if got := s.get("/iso/" + id + "/files?recursive=false").want(200).object(); len(got["files"].([]any)) != 4 {
		t.Errorf("%v", got)
	}
	if got := s.get("/iso/" + id + "/files/install.amd/").want(200).object(); len(got["files"].([]any)) != 2 || got["path"] != "install.amd" {
		t.Errorf("%v", got)
	}
	kernel := s.get("/iso/" + id + "/files/install.amd/vmlinuz").want(200)
	if string(kernel.body) != strings.Repeat("kernel", 3000) || kernel.header.Get("ETag") == "" {
		t.Errorf("%d bytes, %v", len(kernel.body), kernel.header)
	}
	if got := s.get("/iso/"+id+"/files/install.amd/vmlinuz", header{"Range", "bytes=6-11"}).want(206); string(got.body) != "kernel" {
		t.Errorf("%s", got)
	}
	s.get("/iso/"+id+"/files/install.amd/vmlinuz", header{"Range", "bytes=99999-"}).want(416)
	s.get("/iso/"+id+"/files/install.amd/vmlinuz", header{"If-None-Match", kernel.header.Get("ETag")}).want(304)
	if got := s.get("/iso/" + id + "/files/install.amd/a%20file%23%25.txt").want(200); string(got.body) != "odd" {
		t.Errorf("%s", got)
	}
	for _, path := range []string{"nothing", "..%2f..%2fetc%2fpasswd", "install.amd/vmlinuz/x"} {
		s.get("/iso/"+id+"/files/"+path).want(404, "NoSuchPath")
	}
	s.get("/iso/"+id+"/files?creatorID="+bob).want(404, "VolumeNotFound")
	s.get("/iso/"+s.create("disk", 1)+"/files").want(400, "VolumeFormatNotAllowed")
	empty := s.post("/iso/create", map[string]any{"creatorID": alice, "name": "x", "isotype": "tool"}).want(200).object()["vid"].(string)
	s.get("/iso/"+empty+"/files").want(403, "VolumeNotExportable")
	// Its image comes later, once.
	image := installer(t)
	if got := s.do(http.MethodPut, "/volumes/"+empty+"/data", bytes.NewReader(image)).want(200).object(); got["complete"] != true {
		t.Errorf("%v", got)
	}
	s.get("/iso/" + empty + "/files").want(200)
	s.do(http.MethodPut, "/volumes/"+empty+"/data", bytes.NewReader(image)).want(409, "VolumeReadOnly")
}

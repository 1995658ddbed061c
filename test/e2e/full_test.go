package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/test/need"
	"elstore/test/rig"
)

// formOf is a multipart form with an image or another file at its end.
func formOf(t *testing.T, fields map[string]string, name string, data []byte) (io.Reader, map[string]string) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for key, value := range fields {
		if err := form.WriteField(key, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write(data)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &body, map[string]string{"Content-Type": form.FormDataContentType()}
}

// tree lists what is below a directory, with sizes of files; it ignores the server's own state.
func tree(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err == nil && d.Type().IsRegular() {
			list = append(list, fmt.Sprint(strings.TrimPrefix(path, dir), " ", info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The disk fills while an ISO image, a cloud image or a seed comes, in lengths that nobody announced: 507, nothing is left, and what
// was there before stays as it was.
func TestDiskFillsUnderImages(t *testing.T) {
	need.Program(t, "qemu-img")
	const mib = 1 << 20
	root := need.Tmpfs(t, 24*mib)
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--state", t.TempDir(), "--fetch-private")
	defer s.Kill() // before the file system goes
	large, err := iso.Build(iso.Config{Label: "LARGE", Files: map[string][]byte{"data": bytes.Repeat([]byte("iso"), 10*mib)}})
	if err != nil {
		t.Fatal(err)
	}
	publisher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/image") {
			http.NotFound(w, r)
			return
		}
		w.(http.Flusher).Flush() // without a length
		_, _ = w.Write(large)
	}))
	defer publisher.Close()
	fields := map[string]string{"creatorID": alice, "name": "disc", "isotype": "os_generic"}
	body := func(more map[string]any) map[string]any {
		all := map[string]any{"creatorID": alice, "name": "x"}
		maps.Copy(all, more)
		return all
	}
	seed := vid(t, post(t, s, "/cloudinit/render", body(map[string]any{"seed": map[string]any{"hostname": "web1"}}), 200))
	waiting := vid(t, post(t, s, "/iso/create", body(map[string]any{"isotype": "os_generic"}), 200))
	first := base64.StdEncoding.EncodeToString([]byte(`{"creatorID": "` + alice + `", "name": "s", "expectedFiles": 2}`))
	half, header := formOf(t, nil, "user-data", []byte("#cloud-config\n"))
	a, err := s.Do(t.Context(), http.MethodPost, "/cloudinit/metadata/"+first, half, header)
	if err != nil || a.Status != 206 {
		t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	unfinished := base64.StdEncoding.EncodeToString([]byte(`{"vid": "` + vid(t, a) + `"}`))
	before := tree(t, pool)

	refuse := func(name string, a rig.Answer, err error) {
		t.Helper()
		if err != nil || a.Status != 507 {
			t.Errorf("%s: %d %s, %v; want 507", name, a.Status, a.Body, err)
		}
		if after := tree(t, pool); strings.Join(after, "\n") != strings.Join(before, "\n") {
			t.Errorf("%s leaves\n%s\nwhere there was\n%s", name, strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
	}
	url := publisher.URL + "/image.iso"
	t.Run("images", func(t *testing.T) {
		form, header := formOf(t, fields, "disc.iso", large)
		a, err := s.Do(t.Context(), http.MethodPost, "/iso/create/upload", form, header)
		refuse("an upload of an ISO image", a, err)
		for path, more := range map[string]map[string]any{
			"/iso/create/url":    {"isotype": "tool", "url": url},
			"/cloudinit/create":  {"url": url, "seed": map[string]any{"hostname": "web2"}, "format": "raw"},
			"/cloudinit/create?": {"url": url, "overlay": true},
		} {
			a, err := s.Post(t.Context(), path, body(more))
			refuse(path, a, err)
		}
		a, err = s.Do(t.Context(), http.MethodPut, "/volumes/"+waiting+"/data?creatorID="+alice, bytes.NewReader(large), nil)
		refuse("an image for a volume that waits for it", a, err)
	})
	t.Run("seeds", func(t *testing.T) {
		const room = 640 << 10
		fill := filepath.Join(root, "fill")
		f, err := os.Create(fill)
		if err != nil {
			t.Fatal(err)
		}
		for chunk := make([]byte, mib); err == nil; { // until there is no room
			_, err = f.Write(chunk)
		}
		if info, err := f.Stat(); err != nil || f.Truncate(info.Size()-room) != nil || f.Close() != nil {
			t.Fatal(err)
		}
		text := []byte("#!/bin/sh\n" + strings.Repeat("# a comment of a script, many times\n", 100_000)) // 3.6 MB
		for name, document := range map[string]string{"the first file of a seed": first, "the last file of a seed": unfinished} {
			form, header := formOf(t, nil, "vendor-data", text)
			a, err := s.Do(t.Context(), http.MethodPost, "/cloudinit/metadata/"+document, form, header)
			refuse(name, a, err)
		}
		content := strings.Repeat("a line of a file, many times over\n", 5_000)
		a, err := s.Post(t.Context(), "/cloudinit/render", body(map[string]any{"seed": map[string]any{"files": []any{
			map[string]any{"path": "/a", "content": content}, map[string]any{"path": "/b", "content": content},
		}}}))
		refuse("a rendered seed", a, err)
		put := func() (rig.Answer, error) {
			return s.Do(t.Context(), http.MethodPut, "/cloudinit/"+seed+"/files/vendor-data?creatorID="+alice, bytes.NewReader(text), nil)
		}
		a, err = put()
		refuse("a file of a seed that is changed", a, err)
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
		if a, err := put(); err != nil || a.Status != 200 {
			t.Errorf("with room again: %d %s, %v", a.Status, a.Body, err)
		}
	})
}

// stuff takes all room below a directory until the test ends.
func stuff(t *testing.T, dir string) {
	t.Helper()
	for i, size := range []int{1 << 20, 4 << 10, 512} {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("fill", i)))
		if err != nil {
			continue // not even for a name
		}
		for chunk := make([]byte, size); err == nil; { // until there is no room
			_, err = f.Write(chunk)
		}
		_ = f.Close()
	}
}

// Where nothing at all can be written a person is told which disk that is and what to do, and what frees room works.
func TestFullDiskSaysWhichAndWhatToDo(t *testing.T) {
	says := func(t *testing.T, a rig.Answer, code string, words ...string) {
		t.Helper()
		var e struct{ Error, Code string }
		a.Into(t, &e)
		if e.Code != code {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		for _, word := range words {
			if !strings.Contains(e.Error, word) {
				t.Errorf("%q does not say %q", e.Error, word)
			}
		}
	}
	t.Run("of the state", func(t *testing.T) {
		state := need.Tmpfs(t, 1<<20)
		root := t.TempDir()
		rig.Pool(t, root, "pool", `{}`)
		s := rig.Start(t, root, "--state", filepath.Join(state, "state"))
		defer s.Kill() // before the file system goes
		stuff(t, state)
		body := strings.NewReader(`{"creatorID": "` + alice + `", "name": "v", "size": 0.001}`)
		a, err := s.Do(t.Context(), http.MethodPost, "/create", body, map[string]string{"Idempotency-Key": "k"})
		if err != nil || a.Status != 503 {
			t.Fatalf("%d %s %v", a.Status, a.Body, err)
		}
		says(t, a, "StateUnavailable", "state directory is full", "--state")
	})
	t.Run("of a pool", func(t *testing.T) {
		root := need.Tmpfs(t, 2<<20)
		rig.Pool(t, root, "fast", `{}`)
		s := rig.Start(t, root, "--state", t.TempDir())
		defer s.Kill() // before the file system goes
		id := vid(t, post(t, s, "/create", wish("v", 0.001), 200))
		stuff(t, root)
		says(t, post(t, s, "/create", wish("w", 0.001), 507), "VolumeNotAllocable", "fast", "room")
		says(t, post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice}, 507), "PoolFull", "the pool's disk is full")
		gone := map[string]any{"volume_id": id, "creatorID": alice}
		says(t, post(t, s, "/destroy", gone, 507), "PoolFull", "pool fast", `"purge": true`)
		gone["purge"] = true
		post(t, s, "/destroy", gone, 200)
	})
}

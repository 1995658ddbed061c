package v1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"elstore/volume"
)

// payload is an example of the source document, word for word.
func payload(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "source", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// like checks that got has every key of want, with a value of the same JSON type, also in lists and objects.
func like(t *testing.T, path string, want, got any) {
	t.Helper()
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		t.Errorf("%s is %v, a %T; the document has a %T", path, got, got, want)
		return
	}
	switch want := want.(type) {
	case map[string]any:
		for key, value := range want {
			has, there := got.(map[string]any)[key]
			if !there {
				t.Errorf("%s.%s is missing", path, key)
				continue
			}
			like(t, path+"."+key, value, has)
		}
	case []any:
		if len(got.([]any)) == 0 {
			t.Errorf("%s is empty", path)
		}
		for _, has := range got.([]any) {
			like(t, path+"[]", want[0], has)
		}
	}
}

// The example payloads of the source document's sections, at the endpoints of their headings.
func TestSourceDocument(t *testing.T) {
	sections := []struct{ name, path string }{
		{"create", "/create"},
		{"accessible", "/accessible"},
		{"info", "/info"},
		{"destroy", "/destroy"},
		{"update", "/update"},
		{"resize", "/update/resize"},
		{"convert", "/update/convert"},
	}
	for _, section := range sections {
		t.Run(section.name, func(t *testing.T) {
			s := newServer(t, `{"max-volumes": 6, "max-volume-size": "50G", "max-total-size": "200G", "file-system": "default"}`)
			example(t, s)
			request := payload(t, section.name+".request")
			got := s.post(section.path, request).want(200)
			like(t, section.name, decode[any](t, []byte(payload(t, section.name+".response"))), decode[any](t, got.body))

			// What the answer repeats it repeats as it was, but for create's format.
			sent, _ := decode[any](t, []byte(request)).(map[string]any)
			answered, _ := decode[any](t, got.body).(map[string]any)
			for key, value := range sent {
				if has, there := answered[key]; there && has != value {
					t.Errorf("%s: sent %v, got %v", key, value, has)
				}
			}
		})
	}
}

// example makes the volume that the document's payloads name.
func example(t *testing.T, s *server) {
	t.Helper()
	id, err := volume.ParseID(alice)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := volume.ParseClient(alice)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Volumes.Create(t.Context(), volume.NewVolume{ID: id, Meta: volume.Meta{
		Creator: owner, Name: "test", Format: volume.Raw, Alg: volume.NoClone, Bus: volume.Virtio, Size: 1e9 / 512 * 512,
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateAnswersLikeTheDocument(t *testing.T) {
	s := newServer(t, `{}`)
	got := s.post("/create", payload(t, "create.request")).want(200).object()
	want := decode[map[string]any](t, []byte(payload(t, "create.response")))
	if got["vid"] == want["vid"] || got["pool"] != "pool" {
		t.Errorf("%v", got)
	}
	for _, key := range []string{"vid", "pool"} {
		delete(got, key)
		delete(want, key)
	}
	if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

// The text for a missing key is exactly the document's, and more than it says no key of the document is needed.
func TestEveryRequiredKeyIsMissed(t *testing.T) {
	required := map[string][]string{
		"create": {"creatorID", "name", "size"}, "accessible": {"client_uid"}, "info": {"volume_id"}, "destroy": {"volume_id"},
		"update": {"vid", "creatorID"}, "resize": {"vid", "creatorID", "size"}, "convert": {"vid", "creatorID", "format"},
	}
	paths := map[string]string{"resize": "/update/resize", "convert": "/update/convert"}
	s := newServer(t, `{}`)
	example(t, s)
	for name, keys := range required {
		path := paths[name]
		if path == "" {
			path = "/" + name
		}
		full := decode[map[string]json.RawMessage](t, []byte(payload(t, name+".request")))
		for key := range full {
			body := map[string]json.RawMessage{}
			for k, v := range full {
				if k != key {
					body[k] = v
				}
			}
			if !slices.Contains(keys, key) {
				s.post(path, body).want(200)
				continue
			}
			got := s.post(path, body).want(400, "BadRequest").object()
			if want := "request was badly formatted. '" + key + "'"; got["error"] != want || len(got) != 2 {
				t.Errorf("%s without %s: %v", path, key, got)
			}
			body[key] = json.RawMessage("null")
			s.post(path, body).want(400, "BadRequest")
		}
	}
}

package v1_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"elstore/test/need"
)

// field is a part of a multipart form.
type field struct{ name, value string }

// form posts fields to /create/upload.
func (s *server) form(fields []field, headers ...header) answer {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		var part io.Writer
		var err error
		if f.name == "file" {
			part, err = w.CreateFormFile("file", "../../evil.img")
		} else {
			part, err = w.CreateFormField(f.name)
		}
		if err == nil {
			_, err = io.WriteString(part, f.value)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	return s.post("/create/upload", &b, append(headers, header{"Content-Type", w.FormDataContentType()})...)
}

func TestCreateUpload(t *testing.T) {
	need.Program(t, "qemu-img")
	s := newServer(t, `{}`)
	image := string(noise(7, 1<<20))
	tests := map[string][]field{
		"fields":   {{"creatorID", alice}, {"name", "made"}, {"private", "true"}, {"read_iops", "7"}, {"format", "qcow2"}, {"checksum", hexSum([]byte(image))}, {"file", image}},
		"json":     {{"json", `{"creatorID": "` + alice + `", "name": "made", "private": true, "read_iops": 7, "format": "qcow2", "source_format": "raw"}`}, {"file", image}},
		"metadata": {{"metadata", `{"creatorID": "` + alice + `", "name": "made", "private": true, "read_iops": 7, "format": "qcow2"}`}, {"file", image}},
	}
	for name, fields := range tests {
		t.Run(name, func(t *testing.T) {
			got := s.form(fields).want(200).object()
			if got["name"] != "made" || got["private"] != true || got["read_iops"] != 7.0 || got["img_format"] != "qcow2" || got["size"] != 0.001048576 {
				t.Errorf("%v", got)
			}
			if !bytes.Equal(s.content(got["vid"].(string)), []byte(image)) {
				t.Error("not the image")
			}
		})
	}
	larger := s.form([]field{{"creatorID", alice}, {"name", "n"}, {"size", "0.002"}, {"file", image}}).want(200).object()
	if fmt.Sprint(larger["size"]) != "0.002" {
		t.Errorf("%v", larger)
	}
	job := s.wait(s.form(tests["fields"], async))
	if job["state"] != "done" || job["result"].(map[string]any)["name"] != "made" {
		t.Errorf("%v", job)
	}
}

func TestCreateUploadWithAKey(t *testing.T) {
	s := newServer(t, `{}`)
	fields := []field{{"creatorID", alice}, {"name", "once"}, {"file", string(noise(8, 4096))}}
	first := s.form(fields, idempotent("k")).want(200)
	second := s.form(fields, idempotent("k")).want(200)
	if !bytes.Equal(first.body, second.body) {
		t.Errorf("first %s\nthen  %s", first, second)
	}
	fields[1].value = "another"
	s.form(fields, idempotent("k")).want(409, "IdempotencyKeyReused")
	if names := s.names(map[string]any{"client_uid": alice}); fmt.Sprint(names) != "[once]" {
		t.Errorf("%v", names)
	}
}

func TestCreateUploadRefuses(t *testing.T) {
	s := newServer(t, `{}`)
	who, file := []field{{"creatorID", alice}, {"name", "n"}}, field{"file", "xxxx"}
	with := func(fields ...field) []field { return append(append([]field{}, who...), fields...) }
	var many []field
	for i := range 101 {
		many = append(many, field{fmt.Sprint("k", i), "v"})
	}
	tests := []struct {
		name   string
		fields []field
		status int
		code   string
		says   string
	}{
		{"no file", who, 400, "BadRequest", "request was badly formatted. 'file'"},
		{"no name", []field{{"creatorID", alice}, file}, 400, "BadRequest", "request was badly formatted. 'name'"},
		{"keys after the file", append([]field{file}, who...), 400, "BadRequest", "request was badly formatted. 'creatorID'"},
		{"a key after the file", with(file, field{"private", "true"}), 400, "BadRequest", "the file comes last"},
		{"a key twice", with(field{"name", "m"}, file), 400, "BadRequest", "2 times"},
		{"json and fields", with(field{"json", "{}"}, file), 400, "BadRequest", "both"},
		{"json twice", []field{{"json", "{}"}, {"metadata", "{}"}, file}, 400, "BadRequest", "twice"},
		{"json truncated", []field{{"json", `{"name"`}, file}, 400, "BadRequest", "JSON"},
		{"bad bool", with(field{"private", "maybe"}, file), 400, "BadRequest", "'private' is \"maybe\""},
		{"bad name", []field{{"creatorID", alice}, {"name", "\x01"}, file}, 400, "BadRequest", "control character"},
		{"too many fields", append(many, file), 400, "BadRequest", "over 100 fields"},
		{"fields too large", with(field{"note", strings.Repeat("x", 1<<20)}, file), 413, "BodyTooLarge", "1048576"},
		{"wrong checksum", with(field{"checksum", strings.Repeat("0", 64)}, file), 400, "ChecksumMismatch", "sha256"},
		{"not of the format", with(field{"source_format", "qcow2"}, file), 400, "ImageRefused", ""},
		{"empty file", with(field{"file", ""}), 400, "ImageRefused", ""},
		{"unknown pool", with(field{"pool", "x"}, file), 404, "PoolNotFound", ""},
	}
	before := s.state()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.form(tt.fields).want(tt.status, tt.code)
			if says := got.object()["error"].(string); !strings.Contains(says, tt.says) {
				t.Errorf("it says %q", says)
			}
			if after := s.state(); after != before {
				t.Errorf("changed:\n%s\nfrom\n%s", after, before)
			}
		})
	}
	s.post("/create/upload", newVolume("size", "1"), header{"Content-Type", "application/json"}).want(400, "BadRequest")
	s.post("/create/upload", "garbage", header{"Content-Type", "multipart/form-data; boundary=b"}).want(400, "BadRequest")
	s.post("/create/upload", "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nn", header{"Content-Type", "multipart/form-data; boundary=b"}).want(400, "BadRequest")
	s.post("/create/upload", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nxxxx", header{"Content-Type", "multipart/form-data; boundary=b"}, idempotent("a b")).want(400, "BadRequest")
}

// A form that breaks off in its file leaves nothing.
func TestCreateUploadBreaksOff(t *testing.T) {
	s := newServer(t, `{}`)
	before := s.state()
	body := "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n" + newVolume("size", "1") +
		"\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nxxxx"
	s.post("/create/upload", body, header{"Content-Type", "multipart/form-data; boundary=b"}).want(400, "BadRequest")
	if s.state() != before {
		t.Error("something is left")
	}

	conn := s.dial()
	fmt.Fprintf(conn, "POST %s/create/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n%s", base, body)
	job := s.running("create")
	conn.Close()
	if ended, err := s.Jobs.Wait(t.Context(), job); err == nil || ended.Code != "BadRequest" {
		t.Errorf("%+v, %v", ended, err)
	}
	if s.state() != before {
		t.Error("something is left")
	}
}

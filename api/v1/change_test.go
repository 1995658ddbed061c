package v1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"elstore/test/need"
	"elstore/volume"
)

// owned is a request of alice's about one of her volumes.
func owned(id string, more ...any) map[string]any {
	body := map[string]any{"vid": id, "creatorID": alice}
	for i := 0; i < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return body
}

func TestUpdate(t *testing.T) { onBoth(t, testUpdate) }

func testUpdate(t *testing.T, s *server) {
	id := s.create("old", 1, "ip", "10.0.0.1", "note", "x")
	body := owned(id, "name", "new", "private", true, "readonly", true, "shareable", true, "clonable", false, "alg", "rsync", "bus", "sata",
		"read_iops", 5, "note", nil, "fs", map[string]int{"a": 1}, "format", s.formats[0], "cloudinit", false)
	got := s.post("/update", body).want(200)
	sent, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.object()) != fmt.Sprint(decode[map[string]any](t, sent)) {
		t.Errorf("%s", got)
	}
	record := s.record(id)
	for key, want := range map[string]any{
		"name": "new", "private": true, "readonly": true, "shareable": true, "clonable": false, "alg": "rsync", "bus": "sata",
		"read_iops": 5.0, "ip": "10.0.0.1", "format": s.formats[0], "bootable": false,
	} {
		if record[key] != want {
			t.Errorf("%s is %v, want %v", key, record[key], want)
		}
	}
	if _, there := record["note"]; there {
		t.Errorf("note was not taken away: %v", record)
	}
}

// Clients send back the whole record with what they change.
func TestUpdateWithARecord(t *testing.T) { onBoth(t, testUpdateWithARecord) }

func testUpdateWithARecord(t *testing.T, s *server) {
	id := s.create("old", 1, "ip", "10.0.0.1")
	record := s.record(id)
	record["name"] = "new"
	record["vid"] = id
	s.post("/update", record).want(200)
	if got := s.record(id); got["name"] != "new" || got["size"] != record["size"] || got["ip"] != "10.0.0.1" {
		t.Errorf("%v", got)
	}
	record["ceph"] = record["ceph"] != true
	s.post("/update", record).want(400, "VolumeMetadataNotUpdatable")
}

func TestResize(t *testing.T) { onBoth(t, testResize) }

func testResize(t *testing.T, s *server) {
	for _, format := range s.formats {
		id := s.create(format, 1, "format", format)
		for _, step := range []struct {
			body map[string]any
			gb   float64
		}{
			{owned(id, "size", 2), 2},
			{owned(id, "size", 2), 2},
			{owned(id, "size", "3", "preallocation", "off"), 3},
			{owned(id, "size", 1, "shrink", true), 1},
		} {
			got := s.post("/update/resize", step.body).want(200).object()
			if fmt.Sprint(got["size"]) != fmt.Sprint(step.body["size"]) || got["vid"] != id {
				t.Errorf("%v", got)
			}
			if size := s.record(id)["size"].(float64); size < step.gb*1e9 || size >= step.gb*1e9+512 {
				t.Errorf("%s has %v bytes after %v", format, size, step.body)
			}
		}
	}
}

func TestConvertTransferClone(t *testing.T) {
	need.Program(t, "qemu-img")
	s := newServer(t, `{}`)
	id := s.create("disk", 0.01, "read_iops", 9)
	s.post("/update/convert", owned(id, "format", "qcow2")).want(200)
	if got := s.record(id); got["format"] != "qcow2" {
		t.Errorf("%v", got)
	}
	clone := s.post("/clone", map[string]any{"volume_id": id, "creatorID": bob, "name": "copy", "private": true, "alg": "rsync"}).want(200).object()
	if clone["img_format"] != "qcow2" || clone["creatorID"] != bob || clone["name"] != "copy" || clone["private"] != true || clone["alg"] != "rsync" ||
		clone["volume_id"] != id || clone["vid"] == id || clone["read_iops"] != 9.0 || clone["size"] != s.record(id)["size"].(float64)/1e9 {
		t.Errorf("%v", clone)
	}
	for _, path := range []string{"/transfer", "/update/transfer"} {
		s.post(path, owned(id, "newCreatorID", bob)).want(200)
		s.post(path, owned(id, "newCreatorID", bob)).want(200) // the first answer may have been lost
		if got := s.record(id); got["creatorID"] != bob {
			t.Errorf("%v", got)
		}
		s.post(path, map[string]any{"vid": id, "creatorID": bob, "newCreatorID": alice}).want(200)
	}
	s.post("/update", owned(id, "clonable", false)).want(200)
	s.post("/clone", map[string]any{"volume_id": id, "creatorID": bob, "name": "copy"}).want(403, "VolumeNotClonable")
	s.post("/update", owned(id, "private", true)).want(200)
	s.post("/clone", map[string]any{"volume_id": id, "creatorID": bob, "name": "copy"}).want(404, "VolumeNotFound")
}

func TestImportAndCompact(t *testing.T) {
	need.Program(t, "qemu-img")
	dir := t.TempDir()
	image := filepath.Join(dir, "image.vmdk")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "vmdk", image, "8M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	qcow2 := filepath.Join(dir, "image.qcow2")
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", qcow2, "8M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := newServer(t, `{}`, func(c *volume.Config) { c.ImportDirs = []string{dir} })
	got := s.post("/import", map[string]any{"creatorID": alice, "name": "i", "path": image, "source_format": "vmdk", "ip": "x"}).want(200).object()
	if got["size"] != 0.008388608 || got["img_format"] != "raw" || got["path"] != image || got["source_format"] != "vmdk" || got["ip"] != "x" {
		t.Errorf("%v", got)
	}
	larger := s.post("/import", map[string]any{"creatorID": alice, "name": "i", "path": image, "size": "0.01", "format": "qcow2"}).want(200).object()
	if larger["size"] != "0.01" || larger["img_format"] != "qcow2" {
		t.Errorf("%v", larger)
	}

	overlay := s.post("/import", map[string]any{"creatorID": alice, "name": "o", "path": qcow2, "overlay": true}).want(200).object()
	id := overlay["vid"].(string)
	if overlay["overlay"] != true || overlay["img_format"] != "qcow2" || s.record(id)["overlay"] != true {
		t.Errorf("%v", overlay)
	}
	bases, err := os.ReadDir(filepath.Join(s.pool, "elemento-base"))
	if err != nil || len(bases) != 1 {
		t.Errorf("%v, %v", bases, err)
	}
	if got := s.post("/overlay/compact", owned(id)).want(200).object(); got["vid"] != id {
		t.Errorf("%v", got)
	}
	if s.record(id)["overlay"] != false {
		t.Error("it is an overlay still")
	}
	s.post("/overlay/compact", owned(id)).want(200)
}

func TestTrash(t *testing.T) { onBoth(t, testTrash) }

func testTrash(t *testing.T, s *server) {
	first, second := s.create("first", 1), s.create("second", 1, "private", true)
	bobs := s.create("bobs", 1, "creatorID", bob, "private", true)
	for _, body := range []map[string]any{{"volume_id": first}, {"volumeID": second, "client_uid": alice}, {"vid": bobs, "creatorID": bob}} {
		got := s.post("/destroy", body).want(200).object()
		if len(got) != 1 || len(got["vid"].(string)) != 32 {
			t.Errorf("%v", got)
		}
		s.post("/destroy", body).want(200)
	}
	s.post("/info", map[string]string{"volume_id": first}).want(404, "VolumeNotFound")
	s.post("/update", owned(first, "name", "x")).want(404, "VolumeNotFound")
	if got := s.post("/trash", nil).want(200).list(); fmt.Sprint(namesOf(got)) != "[bobs first second]" || got[0]["name"] != "first" || got[0]["trashed"] == nil {
		t.Errorf("%v", got)
	}
	if got := s.post("/trash", map[string]string{"client_uid": alice}).want(200).list(); fmt.Sprint(namesOf(got)) != "[first second]" {
		t.Errorf("%v", got)
	}
	if got := s.get("/trash?client_uid=" + bob).want(200).list(); fmt.Sprint(namesOf(got)) != "[bobs first]" {
		t.Errorf("%v", got)
	}
	s.post("/trash/restore", map[string]string{"volume_id": bobs, "creatorID": alice}).want(404, "VolumeNotFound")
	for range 2 {
		got := s.post("/trash/restore", map[string]string{"volume_id": first, "creatorID": alice}).want(200).object()
		if got["vid"] != first || got["volumeID"] != first || got["name"] != "first" || got["trashed"] != nil {
			t.Errorf("%v", got)
		}
	}
	if got := s.post("/trash/empty", map[string]string{"creatorID": alice}).want(200).object(); got["purged"] != 1.0 {
		t.Errorf("%v", got)
	}
	s.post("/trash/empty", map[string]string{"pool": "other"}).want(404, "PoolNotFound")
	if got := s.post("/trash/empty", map[string]string{"pool": "pool"}).want(200).object(); got["purged"] != 1.0 {
		t.Errorf("%v", got)
	}
	s.post("/destroy", map[string]any{"volume_id": first, "purge": true}).want(200)
	if got := s.post("/trash", nil).want(200).list(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	s.post("/destroy", map[string]any{"volume_id": bob}).want(200)
}

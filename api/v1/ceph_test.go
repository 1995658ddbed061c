package v1_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// onCeph is a server whose one pool has its images on a model of a cluster.
func onCeph(t testing.TB) *server { return newServer(t, `{"ceph": {"pool": "volumes"}}`) }

func TestCreateOnCeph(t *testing.T) {
	s := onCeph(t)
	made := s.post("/ceph/create", map[string]any{"creatorID": alice, "name": "web", "size": 0.004}).want(200).object()
	if made["img_format"] != "rbd" || made["pool"] != "pool" {
		t.Errorf("made %v", made)
	}
	id := made["vid"].(string)
	for _, format := range []string{"rbd", "rdb"} {
		s.create(format, 0.001, "format", format)
	}
	r := s.record(id)
	if r["format"] != "rbd" || r["ceph"] != true || r["size"] != 4000256.0 {
		t.Errorf("the record is %v", r)
	}
	list := s.post("/accessible", map[string]any{"client_uid": alice, "ceph": true}).want(200).list()
	if images := s.Cluster.Images(); len(list) != 3 || len(images) != 3 || !strings.Contains(strings.Join(images, " "), id) {
		t.Errorf("%d volumes, and images %q", len(list), images)
	}
}

func TestCreateOnCephRefused(t *testing.T) {
	s := onCeph(t)
	files := newServer(t, `{}`)
	wish := func(more string) string { return `{"creatorID": "` + alice + `", "name": "n", "size": 1` + more + `}` }
	for _, tt := range []struct {
		name   string
		server *server
		path   string
		body   string
		status int
		code   string
	}{
		{"another format", s, "/ceph/create", wish(`, "format": "raw"`), 400, "VolumeFormatNotAllowed"},
		{"an unknown format", s, "/ceph/create", wish(`, "format": "x"`), 400, "VolumeFormatNotAllowed"},
		{"no size", s, "/ceph/create", `{"creatorID": "` + alice + `", "name": "n"}`, 400, "BadRequest"},
		{"no owner", s, "/ceph/create", `{"name": "n", "size": 1}`, 400, "BadRequest"},
		{"no pool on Ceph", files, "/ceph/create", wish(""), 507, "VolumeNotAllocable"},
		{"no such pool", s, "/ceph/create", wish(`, "pool": "x"`), 404, "PoolNotFound"},
		{"a file, where nothing but Ceph is", s, "/create", wish(""), 507, "VolumeNotAllocable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.post(tt.path, tt.body).want(tt.status, tt.code)
		})
	}
	if images := s.Cluster.Images(); len(images) > 0 {
		t.Errorf("there are images %q", images)
	}
	s.post("/create", wish(`, "pool": "pool"`)).want(200) // where it is named it takes files too
}

// TestLifeOnCeph takes a volume through everything that can be done to it.
func TestLifeOnCeph(t *testing.T) {
	need.Program(t, "qemu-img")
	s := onCeph(t)
	id := s.create("web", 0.002, "format", "rbd")
	owned := func(id, more string) string { return `{"vid": "` + id + `", "creatorID": "` + alice + `"` + more + `}` }
	size := int(s.record(id)["size"].(float64))
	image := noise(7, size)
	s.put(id, image, 0, size/2, "*").want(202)
	s.put(id, image, size/2+1, size-1, itoa(size)).want(200)
	if got := s.get(dataPath(id, "")).want(200).body; !bytes.Equal(got, image) {
		t.Error("the download is not what was uploaded")
	}

	clone := s.post("/clone", `{"volume_id": "`+id+`", "creatorID": "`+alice+`", "name": "copy"}`).want(200).object()["vid"].(string)
	if s.record(clone)["format"] != "rbd" {
		t.Errorf("the clone is %v", s.record(clone))
	}
	s.post("/update/resize", owned(id, `, "size": 0.003`)).want(200)
	s.post("/update/resize", owned(id, `, "size": 0.001`)).want(400, "VolumeDimensionNotShrinkable")
	for _, format := range []string{"qcow2", "rbd", "raw", "rbd"} {
		s.post("/update/convert", owned(id, `, "format": "`+format+`"`)).want(200)
		if r := s.record(id); r["format"] != format || r["ceph"] != (format == "rbd") {
			t.Errorf("after the conversion to %s it is %v", format, r)
		}
	}
	if got := s.content(id); !bytes.Equal(got[:size], image) || len(got) != 3_000_320 {
		t.Error("the conversions changed the content")
	}
	s.post("/update/transfer", owned(id, `, "newCreatorID": "`+bob+`"`)).want(200)
	s.post("/destroy", `{"volume_id": "`+id+`"}`).want(200)
	if name := s.imageOf(id); !s.Cluster.Trashed(name) {
		t.Errorf("the image %q of a deleted volume is not in the cluster's trash: %q", name, s.Cluster.Images())
	}
	s.post("/trash/restore", `{"volume_id": "`+id+`"}`).want(200)
	if name := s.imageOf(id); s.Cluster.Trashed(name) {
		t.Error("the image of a restored volume is in the cluster's trash")
	}
	s.post("/destroy", `{"volume_id": "`+id+`", "purge": true}`).want(200)
	if got := s.content(clone); !bytes.Equal(got, image) {
		t.Error("the clone is not what it was made of")
	}
	s.post("/overlay/compact", owned(clone, "")).want(200)
	if images := s.Cluster.Images(); len(images) != 1 {
		t.Errorf("when all but a clone that stands alone is gone there are images %q", images)
	}
	if got := s.content(clone); !bytes.Equal(got, image) {
		t.Error("compaction changed the clone")
	}
}

// imageOf returns the image that was made for a volume last.
func (s *server) imageOf(id string) (name string) {
	for _, image := range s.Cluster.Images() {
		if strings.HasPrefix(image, "elstore."+id) {
			name = image
		}
	}
	return name
}

func itoa(n int) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestCephCredentials(t *testing.T) {
	s := onCeph(t)
	id := s.create("web", 0.001, "format", "rbd", "private", true)
	ask := func(client string) answer {
		return s.post("/ceph/credentials", `{"volume_id": "`+id+`", "client_uid": "`+client+`"}`)
	}
	a := ask(alice).want(200)
	got := a.object()
	user := "elstore." + id + "." + alice
	if got["user"] != user || got["key"] == "" || got["ceph_pool"] != "volumes" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %v", got)
	}
	caps := s.Cluster.Users()[user]
	for _, want := range []string{"pool=volumes", "object_prefix rbd_data.", "object_prefix rbd_id." + s.imageOf(id)} {
		if !strings.Contains(caps, want) {
			t.Errorf("the user may %s, which lacks %q", caps, want)
		}
	}
	if again := ask(alice).want(200); !bytes.Equal(again.body, a.body) {
		t.Errorf("the second time it is %s", again)
	}
	ask(bob).want(403, "VolumeNotExportable")
	raw := s.create("file", 0.001, "pool", "pool")
	s.post("/ceph/credentials", `{"volume_id": "`+raw+`", "client_uid": "`+alice+`"}`).want(400, "UnsupportedFormat")
	s.post("/ceph/credentials", `{"volume_id": "`+bob+`", "client_uid": "`+alice+`"}`).want(404, "VolumeNotFound")
	s.post("/ceph/credentials", `{"volume_id": "`+id+`"}`).want(400, "BadRequest")
	s.post("/export", `{"volume_id": "`+id+`", "client_uid": "`+alice+`"}`).want(200)
	ask(alice).want(409, "VolumeAlreadyExported")
	s.post("/unexport", `{"volume_id": "`+id+`", "client_uid": "`+alice+`"}`).want(200)
	s.post("/destroy", `{"volume_id": "`+id+`", "purge": true}`).want(200)
	if users := s.Cluster.Users(); len(users) > 0 {
		t.Errorf("users are left of an image that is gone: %v", users)
	}
}

func TestCephIsDown(t *testing.T) {
	s := onCeph(t)
	rig.Pool(t, s.root, "files", `{}`)
	if err := s.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := s.create("web", 0.001, "format", "rbd")
	s.Cluster.Stop()
	defer s.Cluster.Start()
	s.post("/ceph/create", `{"creatorID": "`+alice+`", "name": "n", "size": 0.001}`).want(503, "PoolUnavailable")
	s.post("/update/resize", `{"vid": "`+id+`", "creatorID": "`+alice+`", "size": 0.002}`).want(503, "PoolUnavailable")
	s.post("/destroy", `{"volume_id": "`+id+`", "purge": true}`).want(503, "PoolUnavailable")
	s.get(dataPath(id, "")).want(503, "PoolUnavailable")
	s.post("/info", `{"volume_id": "`+id+`"}`).want(200) // which asks no cluster
	s.create("file", 0.001, "pool", "files")
	s.Cluster.Start()
	s.post("/update/resize", `{"vid": "`+id+`", "creatorID": "`+alice+`", "size": 0.002}`).want(200)
	s.do(http.MethodGet, dataPath(id, ""), nil).want(200)
}

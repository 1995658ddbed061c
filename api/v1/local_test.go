package v1_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestExportOfThePath(t *testing.T) {
	s := newServer(t, `{}`)
	id := s.create("disk", 0.001)
	for key, value := range map[string]any{"initiator": "iqn.2004-10.org.example:x", "portals": []string{"192.0.2.1:1"}, "read_iops": 5} {
		s.post("/export", to(id, bob, "type", "local", "path", true, key, value)).want(400, "BadRequest")
	}
	a := s.post("/export", to(id, bob, "type", "local", "path", true)).want(200).object()
	path, _ := a["path"].(string)
	if !strings.HasSuffix(path, "/vid."+id+".elimg/data.img") || a["uri"] != path || a["socket"] != nil || a["portals"] != nil {
		t.Errorf("%v", a)
	}
	list := s.post("/exports", to(id, bob)).want(200).list()
	if len(list) != 1 || fmt.Sprint(list[0]["portals"]) != "[]" || list[0]["portals"] == nil || fmt.Sprint(list[0]["sessions"]) != "[]" {
		t.Errorf("%v", list)
	}
	machine, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	s.post("/unexport", to(id, bob)).want(409, "ExportBusy")
	s.post("/update/resize", map[string]any{"vid": id, "creatorID": alice, "size": 0.002}).want(409, "VolumeInUse")
	s.post("/clone", map[string]any{"volume_id": id, "creatorID": alice, "name": "copy"}).want(409, "VolumeInUse")
	s.post("/export", to(id, alice, "type", "local")).want(409, "VolumeAlreadyExported")
	if list := s.post("/exports", to(id, bob)).want(200).list(); len(list[0]["sessions"].([]any)) != 1 {
		t.Errorf("%v", list)
	}
	machine.Close()
	s.post("/unexport", to(id, bob)).want(200)
	s.post("/unexport", to(id, bob)).want(200)
}

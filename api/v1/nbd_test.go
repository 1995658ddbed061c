package v1_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestExportOverNBD(t *testing.T) {
	s := newServer(t, `{}`)
	id := s.create("disk", 0.001)
	for key, value := range map[string]any{"initiator": "iqn.2004-10.org.example:x", "path": true, "portals": []string{"192.0.2.1:10809"}} {
		if a := s.post("/export", to(id, bob, "type", "nbd", key, value)).want(400, "BadRequest"); !strings.Contains(string(a.body), key) {
			t.Errorf("%s", a)
		}
	}
	first := s.post("/export", to(id, bob, "type", "nbd", "read_iops", 1000)).want(200)
	a := first.object()
	if a["type"] != "nbd" || a["target"] != nil || a["secret"] != nil || a["libvirt"] != nil || first.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a)
	}
	portal, keys := a["portals"].([]any)[0], a["tls"].(map[string]any)
	if want := fmt.Sprintf("nbds://%s/%s?tls-certificates=%s", portal, id, keys["dir"]); a["uri"] != want {
		t.Errorf("uri %s, want %s", a["uri"], want)
	}
	if again := s.post("/export", to(id, bob, "type", "nbd", "portals", []any{portal})).want(200); string(again.body) != string(first.body) {
		t.Errorf("asked again it answers %s, not %s", again, first)
	}
	s.post("/export", to(id, bob)).want(409, "VolumeAlreadyExported")
	list := s.post("/exports", to(id, bob)).want(200)
	if l := list.list(); len(l) != 1 || l[0]["type"] != "nbd" || fmt.Sprint(l[0]["portals"]) != fmt.Sprintf("[%s]", portal) {
		t.Errorf("%v", l)
	}
	if strings.Contains(string(list.body), "PRIVATE KEY") {
		t.Error("a list has the key")
	}
	s.post("/unexport", to(id, bob)).want(200)
	s.post("/export", to(id, alice)).want(200)
}

package v1_test

import (
	"fmt"
	"strings"
	"testing"

	"elstore/test/need"
)

func TestExportOverSMB(t *testing.T) {
	need.Root(t)
	need.Program(t, "smbd", "net", "smbcontrol")
	s := newServer(t, `{}`)
	id := s.create("disk", 0.001)
	for key, value := range map[string]any{"initiator": "iqn.2004-10.org.example:x", "multipath": true, "path": true, "portals": []string{"192.0.2.1:445"}} {
		if a := s.post("/export", to(id, bob, "type", "samba", key, value)).want(400, "BadRequest"); !strings.Contains(string(a.body), key) {
			t.Errorf("%s", a)
		}
	}
	first := s.post("/export", to(id, bob, "type", "samba")).want(200)
	a := first.object()
	if a["type"] != "samba" || a["target"] != nil || a["lun"] != nil || a["iscsiadm"] != nil || first.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a)
	}
	portal := a["portals"].([]any)[0]
	if want := fmt.Sprintf("smb://%s:%s@%s/%s/data.img", a["user"], a["secret"], portal, a["user"]); a["uri"] != want {
		t.Errorf("uri %s, want %s", a["uri"], want)
	}
	for _, key := range []string{"unc", "smbclient", "mount"} {
		if text, _ := a[key].(string); !strings.Contains(text, fmt.Sprint(a["user"])) {
			t.Errorf("%s is %q", key, text)
		}
	}
	if again := s.post("/export", to(id, bob, "type", "samba", "portals", []any{portal})).want(200); string(again.body) != string(first.body) {
		t.Errorf("asked again it answers %s, not %s", again, first)
	}
	s.post("/export", to(id, bob)).want(409, "VolumeAlreadyExported")
	list := s.post("/exports", to(id, bob)).want(200).list()
	if len(list) != 1 || list[0]["type"] != "samba" || fmt.Sprint(list[0]["portals"]) != fmt.Sprintf("[%s]", portal) {
		t.Errorf("%v", list)
	}
	s.post("/unexport", to(id, bob)).want(200)
	s.post("/export", to(id, alice)).want(200)
}

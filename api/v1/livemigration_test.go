package v1_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestMigration(t *testing.T) {
	for _, under := range []string{"/livemigration", "/migration"} {
		t.Run(under[1:], func(t *testing.T) { testMigration(t, under) })
	}
}

func testMigration(t *testing.T, under string) {
	s := newServer(t, `{}`)
	ids := []any{s.create("one", 0.001), s.create("two", 0.001)}
	secrets := map[string]bool{}
	for _, id := range ids {
		secrets[s.post("/export", to(id.(string), alice)).want(200).object()["secret"].(string)] = true
	}
	ask := map[string]any{"volume_ids": ids, "client_uid": alice, "destination": map[string]any{"client_uid": bob, "host": "node2"}, "timeout": 90}
	first := s.post(under+"/prepare", ask).want(200)
	if got := first.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	m := first.object()
	if m["state"] != "PREPARED" || m["pen"] != "source" || m["owner"] != nil || fmt.Sprint(m["destination"]) != "map[client_uid:"+bob+" host:node2]" {
		t.Errorf("%v", m)
	}
	volumes := m["volumes"].([]any)
	for i, v := range volumes {
		v := v.(map[string]any)
		secret, _ := v["secret"].(string)
		if v["volume_id"] != ids[i] || secret == "" || secrets[secret] || v["uri"] == nil || v["blockdev"] == nil || v["lun"] != 0.0 {
			t.Errorf("%v", v)
		}
		secrets[secret] = true
	}
	if again := s.post(under+"/prepare", ask).want(200); string(again.body) != string(first.body) {
		t.Errorf("asked again: %s", again)
	}
	id := m["migration_id"].(string)
	for _, path := range []string{under, under + "/" + id, under + "?client_uid=" + bob, "/exports", "/jobs"} {
		got := s.get(path).want(200)
		for secret := range secrets {
			if strings.Contains(string(got.body), secret) {
				t.Errorf("%s has a secret: %s", path, got)
			}
		}
	}
	if got := s.get(under + "?client_uid=00000000000000000000000000000c01").want(200).list(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	disk := ids[0].(string)
	for path, body := range map[string]map[string]any{
		"/update/resize":  {"vid": disk, "creatorID": alice, "size": 1},
		"/update/convert": {"vid": disk, "creatorID": alice, "format": "qcow2"},
		"/transfer":       {"vid": disk, "creatorID": alice, "newCreatorID": bob},
		"/destroy":        {"vid": disk},
		"/export":         to(disk, bob),
		"/unexport":       to(disk, alice),
	} {
		s.post(path, body).want(409, "VolumeMigrating")
	}
	ref := map[string]any{"migration_id": id}
	s.post(under+"/conclude", ref).want(412, "ConditionFailed")
	s.post(under+"/conclude", map[string]any{"volume_ids": ids[:1]}).want(400, "BadRequest")
	s.post(under+"/resolve", map[string]any{"migration_id": id, "owner": "source"}).want(409, "MigrationState")
	s.post(under+"/revert", map[string]any{"volume_ids": ids}).want(200)
	if got := s.post(under+"/revert", ref).want(200).object(); got["state"] != "STABLE" || got["owner"] != "source" || got["ended"] == nil {
		t.Errorf("%v", got)
	}
	s.post(under+"/conclude", ref).want(409, "MigrationState")
	ask["volume_id"], ask["volume_ids"] = ids[0], nil
	second := s.post(under+"/prepare", ask).want(200).object()
	ref["migration_id"], ref["force"] = second["migration_id"], true
	if got := s.post(under+"/conclude", ref).want(200).object(); got["state"] != "STABLE" || got["owner"] != "destination" {
		t.Errorf("%v", got)
	}
	list := s.post("/exports", map[string]any{"volume_id": ids[0]}).want(200).list()
	if len(list) != 1 || list[0]["client_uid"] != bob || list[0]["migration_id"] != nil {
		t.Errorf("%v", list)
	}
	if got := s.get(under).want(200).list(); len(got) != 2 || got[0]["migration_id"] != id {
		t.Errorf("%v", got)
	}
}

func TestMigrationRefuses(t *testing.T) { onBoth(t, testMigrationRefuses) }

func testMigrationRefuses(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	s.post("/export", to(id, alice)).want(200)
	none := "00000000000000000000000000000123"
	tests := []struct {
		name   string
		path   string
		body   any
		status int
		code   string
		says   string
	}{
		{"no client", "/prepare", map[string]any{"volume_id": id}, 400, "BadRequest", "request was badly formatted. 'client_uid'"},
		{"no volume", "/prepare", map[string]any{"client_uid": alice}, 400, "BadRequest", "request was badly formatted. 'volume_id'"},
		{"an unknown volume", "/prepare", to(none, alice), 404, "VolumeNotFound", none},
		{"not exported to this client", "/prepare", to(id, bob), 409, "VolumeNotExported", "not exported to client " + bob},
		{"an initiator that is none", "/prepare", to(id, alice, "destination", map[string]any{"initiator": "x"}), 400, "BadRequest", "'initiator'"},
		{"a volume twice", "/prepare", map[string]any{"volume_ids": []string{id, id}, "client_uid": alice}, 400, "BadRequest", "twice"},
		{"another's volume as source", "/prepare", to(id, alice, "source", map[string]any{"client_uid": bob}), 400, "BadRequest", "'source'"},
		{"no time", "/prepare", to(id, alice, "timeout", 0.001), 400, "BadRequest", "'timeout'"},
		{"negative time", "/prepare", to(id, alice, "timeout", -1), 400, "BadRequest", "'timeout'"},
		{"a century", "/prepare", to(id, alice, "timeout", 1e10), 400, "BadRequest", "'timeout'"},
		{"conclude nothing", "/conclude", map[string]any{}, 400, "BadRequest", "'migration_id'"},
		{"conclude what is not there", "/conclude", map[string]any{"migration_id": none}, 404, "MigrationNotFound", none},
		{"revert what does not migrate", "/revert", map[string]any{"volume_id": id}, 404, "MigrationNotFound", id},
		{"resolve for nobody", "/resolve", map[string]any{"migration_id": none}, 400, "BadRequest", "'owner'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := s.state()
			a := s.post("/livemigration"+tt.path, tt.body).want(tt.status, tt.code)
			if text, _ := a.object()["error"].(string); !strings.Contains(text, tt.says) {
				t.Errorf("%q does not say %q", text, tt.says)
			}
			if after := s.state(); after != before {
				t.Errorf("what was refused changed\n%s\nto\n%s", before, after)
			}
		})
	}
	s.get("/livemigration/"+none).want(404, "MigrationNotFound")
	s.get("/livemigration/x").want(404, "MigrationNotFound")
}

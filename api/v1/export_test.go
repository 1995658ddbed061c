package v1_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func to(id, client string, more ...any) map[string]any {
	body := map[string]any{"volume_id": id, "client_uid": client}
	for i := 0; i < len(more); i += 2 {
		body[more[i].(string)] = more[i+1]
	}
	return body
}

func TestExport(t *testing.T) { onBoth(t, testExport) }

func testExport(t *testing.T, s *server) {
	id := s.create("disk", 0.001, "read_iops", 500)
	first := s.post("/export", to(id, bob)).want(200)
	if got := first.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	a := first.object()
	secret, _ := a["secret"].(string)
	if ok, _ := regexp.MatchString(`^[\w-]{16}$`, secret); !ok || a["lun"] != 0.0 || a["volume_id"] != id || a["client_uid"] != bob || a["type"] != "iscsi" {
		t.Errorf("%v", a)
	}
	if want := fmt.Sprintf("iscsi://%s%%%s@%s/%s/0", a["user"], secret, a["portals"].([]any)[0], a["target"]); a["uri"] != want {
		t.Errorf("uri %s, want %s", a["uri"], want)
	}
	if again := s.post("/export", to(id, bob), header{"Idempotency-Key", "k"}, header{"Prefer", "respond-async"}).want(200); !bytes.Equal(again.body, first.body) {
		t.Errorf("asked again it answers %s, not %s", again, first)
	}
	if got := s.record(id); got["exported"] != true || fmt.Sprint(got["exports"]) != "[iscsi:"+bob+"]" {
		t.Errorf("the record says %v %v", got["exported"], got["exports"])
	}
	list := s.post("/exports", map[string]any{"volume_id": id}).want(200).list()
	if len(list) != 1 || list[0]["client_uid"] != bob || list[0]["target"] != a["target"] || list[0]["state"] != "standing" || fmt.Sprint(list[0]["rates"]) != "map[read_iops:500]" {
		t.Errorf("%v", list)
	}
	for query, n := range map[string]int{"": 1, "?client_uid=" + bob: 1, "?client_uid=" + alice: 0, "?volume_id=" + strings.ToUpper(id): 1, "?orphans=1": 0} {
		if got := s.get("/exports" + query).want(200).list(); len(got) != n {
			t.Errorf("/exports%s has %v, want %d", query, got, n)
		}
	}
	s.post("/export", to(id, alice)).want(409, "VolumeAlreadyExported")
	s.post("/destroy", map[string]string{"volume_id": id}).want(409, "VolumeCannotBeDeleted")
	s.post("/unexport", to(id, bob, "if_idle", true)).want(200)
	if got := s.post("/unexport", to(id, bob)).want(200).object(); got["volume_id"] != id || got["client_uid"] != bob {
		t.Errorf("%v", got)
	}
	if got := s.record(id); got["exported"] != false {
		t.Errorf("%v", got)
	}
	s.post("/unexport", to("00000000000000000000000000000123", bob)).want(200)
}

// Whatever is asked of the server after an export, and whatever it wrote down but the volume's own record: the secret is not there.
func TestSecretsAreNowhereElse(t *testing.T) { onBoth(t, testSecretsAreNowhereElse) }

func testSecretsAreNowhereElse(t *testing.T, s *server) {
	events := s.Events.Subscribe(0)
	defer events.Close()
	id := s.create("disk", 0.001)
	a := s.post("/export", to(id, bob), header{"Idempotency-Key", "k"}, header{"Prefer", "respond-async"}).want(200).object()
	secrets := []string{a["secret"].(string), a["peer_secret"].(string)}
	for _, path := range []string{"/exports", "/jobs", "/exports?orphans=1", "/pools"} {
		body := string(s.get(path).want(200).body)
		for _, secret := range secrets {
			if strings.Contains(body, secret) {
				t.Errorf("%s has a secret: %s", path, body)
			}
		}
	}
	s.post("/unexport", to(id, bob)).want(200)
	s.post("/export", to(id, bob)).want(200)
	events.Close()
	var types []string
	for e := range events.C {
		types = append(types, e.Type)
		if text := fmt.Sprintf("%+v %+v", e, e.Export); strings.Contains(text, secrets[0]) || strings.Contains(text, secrets[1]) {
			t.Errorf("an event has a secret: %s", text)
		}
	}
	if !slices.Contains(types, "export.began") || !slices.Contains(types, "export.ended") {
		t.Errorf("events %v", types)
	}
	for _, root := range []string{s.root, s.State.Name()} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "data.img") {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(secrets[0])) {
				t.Errorf("%s has the secret of an export that ended", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestExportRefuses(t *testing.T) { onBoth(t, testExportRefuses) }

func testExportRefuses(t *testing.T, s *server) {
	id := s.create("disk", 0.001)
	hidden := s.create("hidden", 0.001, "private", true)
	tests := []struct {
		name   string
		path   string
		body   any
		status int
		code   string
		says   string
	}{
		{"no volume", "/export", map[string]any{"client_uid": bob}, 400, "BadRequest", "request was badly formatted. 'volume_id'"},
		{"no client", "/export", map[string]any{"volume_id": id}, 400, "BadRequest", "request was badly formatted. 'client_uid'"},
		{"a client that is none", "/export", to(id, "bob"), 400, "BadRequest", "'client_uid'"},
		{"an unknown volume", "/export", to("00000000000000000000000000000123", bob), 404, "VolumeNotFound", "123"},
		{"a private volume of somebody else", "/export", to(hidden, bob), 403, "VolumeNotExportable", "private"},
		{"an unknown type", "/export", to(id, bob, "type", "fax"), 400, "BadRequest", "iscsi"},
		{"an initiator that is none", "/export", to(id, bob, "initiator", "iqn.nonsense"), 400, "BadRequest", "'initiator' is \"iqn.nonsense\""},
		{"portals that aren't ours", "/export", to(id, bob, "portals", []string{"192.0.2.1:3260"}), 400, "BadRequest", "'portals' has \"192.0.2.1:3260\""},
		{"a rate that is none", "/export", to(id, bob, "read_iops", -1), 400, "BadRequest", "'read_iops'"},
		{"a takeover without the caller's word", "/export", to(id, bob, "takeover", true), 400, "BadRequest", "old_host_is_off"},
		{"a path over iSCSI", "/export", to(id, bob, "path", true), 400, "BadRequest", "'path'"},
		{"unexport without a client", "/unexport", map[string]any{"volume_id": id}, 400, "BadRequest", "'client_uid'"},
		{"unexport of an unknown type", "/unexport", to(id, bob, "type", "fax"), 400, "BadRequest", "'type'"},
		{"a list of what is none", "/exports", map[string]any{"volume_id": "x"}, 400, "BadRequest", "'volume_id'"},
		{"orphans, perhaps", "/exports", map[string]any{"orphans": "perhaps"}, 400, "BadRequest", "'orphans'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := s.state()
			a := s.post(tt.path, tt.body).want(tt.status, tt.code)
			if text, _ := a.object()["error"].(string); !strings.Contains(text, tt.says) {
				t.Errorf("%q does not say %q", text, tt.says)
			}
			if after := s.state(); after != before {
				t.Errorf("what was refused changed\n%s\nto\n%s", before, after)
			}
		})
	}
}

package cloudinit

import (
	"strings"
	"testing"

	"elstore/volume/fault"
)

func TestParseShort(t *testing.T) {
	if s, err := ParseShort([]byte(`{"hostname": "web", "users": [{"name": "ann", "sudo": true}], "network": {"dhcp": true}}`)); err != nil ||
		s.Hostname != "web" || len(s.Users) != 1 || !s.Users[0].Sudo || !s.Network.DHCP {
		t.Errorf("%+v, %v", s, err)
	}
	for _, c := range []struct{ name, form, says string }{
		{"a number for a list", `{"users": 3}`, "'users' of a seed is a JSON number; allowed is an array, each element an object"},
		{"a text for a list", `{"packages": "hunter2"}`, "'packages' of a seed is a JSON string; allowed is an array, each element a string"},
		{"a text for a truth", `{"network": {"dhcp": "yes"}}`, "'network.dhcp' of a seed is a JSON string; allowed is true or false"},
		{"a list for an object", `{"network": []}`, "'network' of a seed is a JSON array; allowed is an object"},
		{"a number for a text", `{"hostname": 12345}`, "'hostname' of a seed is a JSON number; allowed is a string"},
		{"no object", `7`, "a seed is a JSON number; allowed is an object"},
		{"a key that is none", `{"packges": ["a"]}`, `unknown field "packges"`},
		{"no JSON", `{`, "can't be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseShort([]byte(c.form))
			if !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s", err, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "12345")) {
				t.Errorf("a value is in %v", err)
			}
		})
	}
}

func FuzzParseShort(f *testing.F) {
	f.Add([]byte(`{"hostname": "web", "users": [{"name": "ann"}], "files": [{"path": "/a", "content": "x"}], "run": ["true"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseShort(data)
		if err != nil {
			return
		}
		if files, err := s.Render(); err == nil {
			for name, text := range files {
				if err := Check(name, text); err != nil {
					t.Errorf("what was rendered is refused: %v\n%s", err, text)
				}
			}
		}
	})
}

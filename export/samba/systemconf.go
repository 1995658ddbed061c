package samba

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// parseGlobal reads the global settings in what testparm says, with their keys in lower case. Pure.
func parseGlobal(out []byte) map[string]string {
	for _, s := range parseSections(out) {
		if strings.EqualFold(s.name, "global") {
			return s.settings
		}
	}
	return map[string]string{}
}

// section is one of what testparm and net say: a share, or the global settings.
type section struct {
	name     string
	settings map[string]string
}

// parseSections reads them. Pure.
func parseSections(out []byte) (list []section) {
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") {
			list = append(list, section{strings.TrimSuffix(name, "]"), map[string]string{}})
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && len(list) > 0 {
			list[len(list)-1].settings[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	return list
}

// demand says what the machine's smbd must be told before it gets our shares: what its shares can't say, and only the operator may. Pure.
func demand(global map[string]string, guests bool) error {
	var errs []error
	for _, d := range []struct {
		key     string
		allowed []string // as testparm writes them
		say     string
	}{
		{"registry shares", []string{"yes"}, "it has no shares of the registry; set \"include = registry\""},
		{"server role", []string{"auto", "standalone server"}, "its users are not its own; set \"server role = standalone server\""},
		{"security", []string{"auto", "user"}, "its users are not its own; set \"security = user\""},
		{
			"server min protocol",
			[]string{"smb2", "smb2_10", "smb2_22", "smb2_24", "smb3", "smb3_00", "smb3_02", "smb3_10", "smb3_11"},
			"it lets in clients older than SMB 2.1; set \"server min protocol = SMB2_10\"",
		},
		{"server signing", []string{"required", "mandatory"}, "it lets in clients that don't sign; set \"server signing = mandatory\""},
	} {
		if !slices.Contains(d.allowed, strings.ToLower(global[d.key])) {
			errs = append(errs, fmt.Errorf("%s in its section [global]", d.say))
		}
	}
	if guests && !strings.EqualFold(global["map to guest"], "Bad User") {
		errs = append(errs, errors.New("it knows no guests; set \"map to guest = Bad User\" in its section [global]"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("the machine's smbd can't serve exports of type samba: %w", errors.Join(errs...))
}

// values are the settings of a share of the machine's smbd: all that it must not have from the defaults that smb.conf sets for
// everybody's shares.
func (y *System) values(s share, guest string) []setting {
	yesNo := map[bool]string{true: "yes", false: "no"}
	users := s.name
	if s.guests {
		users += " " + guest
	}
	list := []setting{
		{"path", y.volumes() + "/" + s.name},
		{"comment", y.Mark},
		{"browseable", "no"},
		{"read only", yesNo[s.readonly]},
		{"guest ok", yesNo[s.guests]},
		{"guest only", "no"},
		{"valid users", users},
		{"strict sync", "yes"},
		{"vfs objects", ""},
		{"force user", ""},
		{"force group", ""},
		{"admin users", ""},
	}
	for _, key := range denied {
		list = append(list, setting{key, "no"})
	}
	return list
}

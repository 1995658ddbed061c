package cloudinit

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What the YAML of a rendered seed is made of, in the order in which a person would write it.
type (
	metaData struct {
		Instance string `yaml:"instance-id"`
		Hostname string `yaml:"local-hostname,omitempty"`
	}

	userData struct {
		Hostname      string      `yaml:"hostname,omitempty"`
		FQDN          string      `yaml:"fqdn,omitempty"`
		ManageHosts   bool        `yaml:"manage_etc_hosts,omitempty"`
		Timezone      string      `yaml:"timezone,omitempty"`
		Users         []any       `yaml:"users,omitempty"`
		SSHKeys       []string    `yaml:"ssh_authorized_keys,omitempty"`
		PackageUpdate bool        `yaml:"package_update,omitempty"`
		Packages      []string    `yaml:"packages,omitempty"`
		Files         []writeFile `yaml:"write_files,omitempty"`
		Run           []literal   `yaml:"runcmd,omitempty"`
	}

	userEntry struct {
		Name    string   `yaml:"name"`
		Groups  []string `yaml:"groups,omitempty,flow"`
		Shell   string   `yaml:"shell"`
		Sudo    string   `yaml:"sudo,omitempty"`
		Lock    bool     `yaml:"lock_passwd"`
		Hash    string   `yaml:"hashed_passwd,omitempty"`
		SSHKeys []string `yaml:"ssh_authorized_keys,omitempty"`
	}

	writeFile struct {
		Path    string  `yaml:"path"`
		Owner   string  `yaml:"owner,omitempty"`
		Mode    string  `yaml:"permissions"`
		Content literal `yaml:"content"`
	}

	// literal is a text of any lines. One that begins with white space is quoted: as a block the YAML library would indent
	// it wrongly.
	literal string

	network2 struct {
		Version   int                 `yaml:"version"`
		Ethernets map[string]ethernet `yaml:"ethernets"`
	}

	ethernet struct {
		Match       *match       `yaml:"match,omitempty"`
		DHCP4       bool         `yaml:"dhcp4"`
		Addresses   []string     `yaml:"addresses,omitempty"`
		Routes      []route      `yaml:"routes,omitempty"`
		Nameservers *nameservers `yaml:"nameservers,omitempty"`
	}

	match struct {
		Name string `yaml:"name,omitempty"`
		MAC  string `yaml:"macaddress,omitempty"`
	}

	route struct {
		To  string `yaml:"to"`
		Via string `yaml:"via"`
	}

	nameservers struct {
		Addresses []string `yaml:"addresses,omitempty,flow"`
		Search    []string `yaml:"search,omitempty,flow"`
	}
)

// MarshalYAML implements yaml.Marshaler.
func (l literal) MarshalYAML() (any, error) {
	if strings.TrimLeft(string(l), " \t\r\n") == string(l) {
		return string(l), nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: string(l)}, nil
}

func (s *Short) userData() userData {
	d := userData{
		Hostname: s.Hostname, FQDN: s.FQDN, ManageHosts: s.Hostname != "" || s.FQDN != "", Timezone: s.Timezone,
		SSHKeys: trimmed(s.SSHKeys), PackageUpdate: s.PackageUpdate, Packages: s.Packages,
	}
	for _, line := range s.Run {
		d.Run = append(d.Run, literal(line))
	}
	if len(s.Users) > 0 {
		d.Users = append(d.Users, "default") // the image's own user stays
	}
	for _, u := range s.Users {
		e := userEntry{
			Name: u.Name, Groups: u.Groups, Shell: u.Shell, Lock: u.PasswordHash == "", Hash: u.PasswordHash, SSHKeys: trimmed(u.SSHKeys),
		}
		if e.Shell == "" {
			e.Shell = "/bin/bash"
		}
		if u.Sudo {
			e.Sudo = "ALL=(ALL) NOPASSWD:ALL"
		}
		d.Users = append(d.Users, e)
	}
	for _, f := range s.Files {
		w := writeFile{Path: f.Path, Owner: f.Owner, Mode: f.Mode, Content: literal(f.Content)}
		if w.Mode == "" {
			w.Mode = "0644"
		}
		d.Files = append(d.Files, w)
	}
	return d
}

func trimmed(list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// anyEthernet matches the names that Linux gives Ethernet interfaces: eth0, enp1s0, ens3, eno1.
const anyEthernet = "e*"

func (n *Network) version2() network2 {
	e := ethernet{DHCP4: n.DHCP, Addresses: n.Addresses}
	id := "nic0"
	switch {
	case n.MAC != "":
		e.Match = &match{MAC: strings.ToLower(n.MAC)}
	case n.Interface != "":
		id = n.Interface
	default:
		e.Match = &match{Name: anyEthernet}
	}
	if n.Gateway != "" {
		to := "0.0.0.0/0"
		if strings.Contains(n.Gateway, ":") {
			to = "::/0"
		}
		e.Routes = []route{{to, n.Gateway}}
	}
	if len(n.DNS)+len(n.Search) > 0 {
		e.Nameservers = &nameservers{n.DNS, n.Search}
	}
	return network2{Version: 2, Ethernets: map[string]ethernet{id: e}}
}

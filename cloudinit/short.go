package cloudinit

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"elstore/volume/fault"
)

// Short is the short form of a seed: what most machines need, without knowing cloud-init.
type Short struct {
	Hostname      string   `json:"hostname"`
	FQDN          string   `json:"fqdn"`
	Timezone      string   `json:"timezone"`
	Users         []User   `json:"users"`
	SSHKeys       []string `json:"ssh_keys"` // of the image's own user
	Packages      []string `json:"packages"`
	PackageUpdate bool     `json:"package_update"`
	Files         []File   `json:"files"`
	Run           []string `json:"run"` // command lines for the shell, at the first boot, in their order
	Network       *Network `json:"network"`
}

// User is a user that the machine is to have beside the image's own.
type User struct {
	Name         string   `json:"name"`
	SSHKeys      []string `json:"ssh_keys"`
	PasswordHash string   `json:"password_hash"` // as crypt(5) has it; "" locks the password
	Sudo         bool     `json:"sudo"`          // without a password
	Groups       []string `json:"groups"`
	Shell        string   `json:"shell"` // "" is /bin/bash
}

// File is a file that the machine is to have.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Mode    string `json:"mode"`  // octal; "" is 0644
	Owner   string `json:"owner"` // user:group; "" is root:root
}

// Network is the configuration of one interface: by DHCP, or static with Addresses.
type Network struct {
	Interface string   `json:"interface"` // its name in the machine; "" is any Ethernet interface
	MAC       string   `json:"mac"`       // finds it whatever its name
	DHCP      bool     `json:"dhcp"`
	Addresses []string `json:"addresses"` // with the prefix's length: 192.0.2.7/24
	Gateway   string   `json:"gateway"`
	DNS       []string `json:"dns"`
	Search    []string `json:"search"`
}

var (
	hostname = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	fqdn     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$`)
	userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	octal    = regexp.MustCompile(`^0?[0-7]{3,4}$`)
	mac      = regexp.MustCompile(`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`)
	device   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,15}$`)
	keyLine  = regexp.MustCompile(`^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$`)
)

// Check refuses what would not become a machine, naming the key, the value and what is allowed.
func (s *Short) Check() error {
	bad := func(key, value, allowed string) error {
		return fault.Errorf(fault.BadRequest, "%s %.80q is not allowed: use %s", key, value, allowed)
	}
	fits := func(key, value string, as *regexp.Regexp, allowed string) error {
		if value == "" || as.MatchString(value) {
			return nil
		}
		return bad(key, value, allowed)
	}
	checks := []error{
		fits("hostname", s.Hostname, hostname, "1 to 63 letters, digits and -"),
		fits("fqdn", s.FQDN, fqdn, "a host name and a domain"),
	}
	keys := func(list []string) {
		for _, k := range list {
			if !keyLine.MatchString(strings.TrimSpace(k)) || strings.ContainsAny(strings.TrimSpace(k), "\r\n") {
				checks = append(checks, bad("ssh_keys", k, "a public key as in authorized_keys, without options: ssh-ed25519 AAAA… comment"))
			}
		}
	}
	keys(s.SSHKeys)
	for _, u := range s.Users {
		if u.Name == "" {
			checks = append(checks, fault.Errorf(fault.BadRequest, "request was badly formatted. 'users.name'"))
		}
		checks = append(checks, fits("users.name", u.Name, userName, "1 to 32 small letters, digits, _ and -"))
		if u.PasswordHash != "" && !strings.HasPrefix(u.PasswordHash, "$") {
			checks = append(checks, fault.Errorf(fault.BadRequest, "password_hash of user %s is no hash as crypt(5) has it, which begins with $; openssl passwd -6 makes one", u.Name))
		}
		keys(u.SSHKeys)
	}
	for _, f := range s.Files {
		if !strings.HasPrefix(f.Path, "/") {
			checks = append(checks, bad("files.path", f.Path, "an absolute path"))
		}
		checks = append(checks, fits("files.mode", f.Mode, octal, "octal digits such as 0644"))
	}
	if s.Network != nil {
		checks = append(checks, s.Network.check(bad, fits))
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) check(bad func(key, value, allowed string) error, fits func(key, value string, as *regexp.Regexp, allowed string) error) error {
	for _, a := range n.Addresses {
		if _, err := netip.ParsePrefix(a); err != nil {
			return bad("network.addresses", a, "an address and its prefix's length, such as 192.0.2.7/24")
		}
	}
	for key, list := range map[string][]string{"network.gateway": {n.Gateway}, "network.dns": n.DNS} {
		for _, a := range list {
			if _, err := netip.ParseAddr(a); a != "" && err != nil {
				return bad(key, a, "an IP address")
			}
		}
	}
	switch {
	case !n.DHCP && len(n.Addresses) == 0:
		return fault.Errorf(fault.BadRequest, "network needs dhcp true, or addresses")
	case n.Gateway != "" && len(n.Addresses) == 0:
		return fault.Errorf(fault.BadRequest, "network.gateway needs addresses; with dhcp it comes from the server")
	}
	if err := fits("network.mac", n.MAC, mac, "six pairs of hexadecimal digits with : between them"); err != nil {
		return err
	}
	return fits("network.interface", n.Interface, device, "up to 15 letters, digits, ., _ and -")
}

// Render makes user-data, meta-data and, with a network, network-config. The same form gives the same files.
func (s *Short) Render() (Files, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	f := Files{UserData: append([]byte("#cloud-config\n"), encode(s.userData())...)}
	if s.Network != nil {
		f[NetworkConfig] = encode(s.Network.version2())
	}
	meta := metaData{Instance: "iid-" + f.sum(), Hostname: s.Hostname}
	if s.FQDN != "" && s.Hostname == "" {
		meta.Hostname, _, _ = strings.Cut(s.FQDN, ".")
	}
	f[MetaData] = encode(meta)
	return f, f.Check()
}

// encode writes YAML. No value of ours can fail to be written.
func encode(v any) []byte {
	data, err := yaml.Marshal(v)
	if err != nil {
		panic("cloudinit: " + err.Error())
	}
	return data
}

// ParseShort reads the short form from JSON. Other keys than its own are refused: a misspelt one would be missed on the machine
// only. No error has a value in it: there may be secrets among them. Pure.
func ParseShort(data []byte) (*Short, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	s := &Short{}
	err := d.Decode(s)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := "a seed"
		if wrong.Field != "" {
			where = "'" + wrong.Field + "' of a seed"
		}
		got, _, _ := strings.Cut(wrong.Value, " ") // what follows is the value
		return nil, fault.Errorf(fault.BadRequest, "%s is a JSON %s; allowed is %s", where, got, allowedJSON(wrong.Type))
	}
	if err != nil {
		return nil, fault.Errorf(fault.BadRequest, "the short form of a seed can't be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return s, nil
}

// allowedJSON names the JSON that a value of type t is made of.
func allowedJSON(t reflect.Type) string {
	switch t.Kind() { // a Short has no others
	case reflect.Slice:
		return "an array, each element " + allowedJSON(t.Elem())
	case reflect.Struct:
		return "an object"
	case reflect.Bool:
		return "true or false"
	default:
		return "a string"
	}
}

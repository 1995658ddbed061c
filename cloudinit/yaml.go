package cloudinit

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func itoa(n int) string { return strconv.Itoa(n) }

func quote(s string) string { return strconv.Quote(s) }

// yamlLine finds the line in an error of the YAML parser.
var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)`)

// maxNodes bounds the values in the YAML that is read: the parser makes up to 170 bytes of each, and some of every byte of their
// text. A file that is embedded, as base64 in a block, is one value.
const maxNodes = 512 << 10

// longYAML is the length in bytes over which files are read one at a time.
const longYAML = 512 << 10

// parsing bounds how many files are read at a time, and with it the memory that they take.
var (
	parsing = make(chan struct{}, 2)
	long    = make(chan struct{}, 1)
)

// nodes is the most values that YAML can have: before each comes a sign of these.
func nodes(data []byte) (n int) {
	for _, c := range data {
		switch c {
		case '\n', '\r', ',', ':', '-', '?', '[', '{':
			n++
		}
	}
	return n
}

// parse reads the only YAML document of a file, whose first line is number skipped+1. A nil node is an empty document.
func parse(name string, data []byte, skipped int) (*yaml.Node, error) {
	if err := text(name, data); err != nil {
		return nil, err
	}
	if n := nodes(data); n > maxNodes {
		return nil, invalid(name, 0, "its YAML has up to "+itoa(n)+" values and lines; at most "+itoa(maxNodes)+" are read")
	}
	if len(data) > longYAML {
		long <- struct{}{}
		defer func() { <-long }()
	}
	parsing <- struct{}{}
	defer func() { <-parsing }()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		line, says := blame(data, err)
		return nil, invalid(name, line+skipped, "YAML was expected: "+says)
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil //nolint:nilnil // an empty document is none
	}
	return doc.Content[0], nil
}

// maxBlame is how many bytes are parsed at most, over and over, to find the line to blame.
const maxBlame = 8 << 20

// blame finds the line to blame for an error of the parser, whose own word is the line where the block begins: the first after which
// no more of the file makes sense.
func blame(data []byte, err error) (line int, says string) {
	says = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		says = m[2]
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines)*len(data)/2 > maxBlame {
		return line, says
	}
	end := len(data)
	for n, l := range slices.Backward(lines) {
		if end -= len(l); len(bytes.TrimSpace(l)) == 0 {
			continue
		}
		var doc yaml.Node
		if yaml.Unmarshal(data[:end], &doc) == nil {
			return n + 1, says
		}
	}
	return line, says
}

// kinds of YAML nodes as words of a sentence.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return kindOf(n.Alias)
	case yaml.ScalarNode, yaml.DocumentNode:
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	}
	return "a text"
}

// expect refuses a node that is of none of the kinds.
func expect(name string, skipped int, what string, n *yaml.Node, kinds ...string) error {
	if slices.Contains(kinds, kindOf(n)) {
		return nil
	}
	return invalid(name, n.Line+skipped, what+" is "+kindOf(n)+"; "+strings.Join(kinds, " or ")+" was expected")
}

// pairs yields a mapping's keys and values; an error of yield ends it.
func pairs(n *yaml.Node, yield func(key string, k, v *yaml.Node) error) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := yield(n.Content[i].Value, n.Content[i], n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// get returns the value of a mapping's key, or nil.
func get(n *yaml.Node, key string) (value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	found := errors.New("found")
	_ = pairs(n, func(k string, _, v *yaml.Node) error {
		if k == key {
			value = v
			return found
		}
		return nil
	})
	return value
}

const (
	mapping = "a mapping"
	list    = "a list"
	word    = "a text"
	number  = "a number"
	truth   = "a truth value"
	nothing = "nothing"
)

// shapes are what cloud-init's modules expect of the keys that are used most (cloud-init's schema-cloud-config-v1.json). A machine
// would pass over one of another kind with a warning that nobody reads.
var shapes = map[string][]string{
	"bootcmd": {list}, "runcmd": {list}, "packages": {list}, "write_files": {list}, "ssh_authorized_keys": {list},
	"ssh_import_id": {list}, "mounts": {list}, "groups": {list, mapping, word}, "users": {list, mapping, word},
	"chpasswd": {mapping}, "ntp": {mapping, nothing}, "growpart": {mapping}, "disk_setup": {mapping}, "fs_setup": {list},
	"apt": {mapping}, "yum_repos": {mapping}, "power_state": {mapping}, "phone_home": {mapping}, "snap": {mapping},
	"ca_certs": {mapping}, "swap": {mapping}, "hostname": {word, number}, "fqdn": {word}, "timezone": {word}, "locale": {word, truth},
	"ssh_keys": {mapping}, "package_update": {truth}, "package_upgrade": {truth}, "disable_root": {truth},
	"preserve_hostname": {truth}, "manage_etc_hosts": {truth, word}, "ssh_pwauth": {truth, word}, "ssh_deletekeys": {truth},
}

// checkCloudConfig checks a #cloud-config.
func checkCloudConfig(name string, data []byte, skipped int) error {
	n, err := parse(name, data, skipped)
	if err != nil || n == nil {
		return err
	}
	if err := expect(name, skipped, "#cloud-config", n, mapping); err != nil {
		return err
	}
	return pairs(n, func(key string, _, v *yaml.Node) error {
		if kinds := shapes[key]; kinds != nil {
			if err := expect(name, skipped, key, v, kinds...); err != nil {
				return err
			}
		}
		switch key {
		case "write_files":
			return each(name, skipped, "an element of write_files", v, "path")
		case "users":
			return checkUsers(name, skipped, v)
		}
		return nil
	})
}

// each expects mappings with a key in a list.
func each(name string, skipped int, what string, n *yaml.Node, key string) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for _, e := range n.Content {
		if err := expect(name, skipped, what, e, mapping); err != nil {
			return err
		}
		for e.Kind == yaml.AliasNode {
			e = e.Alias
		}
		if get(e, key) == nil && get(e, "<<") == nil {
			return invalid(name, e.Line+skipped, what+" has no "+key+", which was expected")
		}
	}
	return nil
}

func checkUsers(name string, skipped int, n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return nil
	}
	for _, u := range n.Content {
		if err := expect(name, skipped, "a user", u, mapping, word, list); err != nil {
			return err
		}
		if u.Kind == yaml.MappingNode && get(u, "name") == nil && get(u, "snapuser") == nil && get(u, "<<") == nil {
			return invalid(name, u.Line+skipped, "a user has no name, which was expected")
		}
	}
	return nil
}

// checkSequence checks a #cloud-config-archive.
func checkSequence(name string, data []byte, skipped int) error {
	n, err := parse(name, data, skipped)
	if err != nil || n == nil {
		return err
	}
	return expect(name, skipped, "#cloud-config-archive", n, list)
}

// checkMetaData checks meta-data, YAML or JSON.
func checkMetaData(name string, data []byte) error {
	n, err := parse(name, data, 0)
	if err != nil || n == nil {
		return err
	}
	if err := expect(name, 0, "meta-data", n, mapping); err != nil {
		return err
	}
	for _, key := range []string{"instance-id", "local-hostname", "hostname"} {
		if v := get(n, key); v != nil {
			if err := expect(name, 0, key, v, word, number); err != nil {
				return err
			}
		}
	}
	return nil
}

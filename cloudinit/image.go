package cloudinit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"elstore/iso"
	"elstore/volume/fault"
)

// application is the application id of the images.
const application = "ELSTORE NOCLOUD SEED"

// Image makes the NoCloud image of a seed's files: label cidata, always with user-data and meta-data, the source system's network-data
// under cloud-init's name too, and an instance-id. The same files give the same bytes.
func Image(f Files) ([]byte, error) {
	data, err := iso.Build(iso.Config{Label: Label, Application: application, Files: f.complete(), Executable: f.scripts()})
	if err != nil && fault.CodeOf(err) == fault.InternalError {
		return nil, fault.Errorf(fault.CloudInitIsoCreationFailed, "the seed's image could not be made: %w", err)
	}
	return data, err
}

// complete adds what cloud-init needs and is not there.
func (f Files) complete() Files {
	all := maps.Clone(f)
	if all == nil {
		all = Files{}
	}
	if all[UserData] == nil {
		all[UserData] = []byte("#cloud-config\n")
	}
	if network, ok := f[NetworkData]; ok && f[NetworkConfig] == nil {
		all[NetworkConfig] = network
	}
	if InstanceID(f[MetaData]) == "" {
		all[MetaData] = withInstanceID(f[MetaData], "iid-"+f.sum())
	}
	return all
}

func (f Files) scripts() map[string]bool {
	executable := map[string]bool{}
	for name, data := range f {
		executable[name] = isScript(data)
	}
	return executable
}

func (f Files) names() []string { return slices.Sorted(maps.Keys(f)) }

// sum is of the files' names and contents, 16 hexadecimal digits. An instance-id of this server's making in meta-data doesn't count.
func (f Files) sum() string {
	h := sha256.New()
	for _, name := range f.names() {
		data := f[name]
		if name == MetaData {
			data = withoutEdit(data)
		}
		_, _ = fmt.Fprintf(h, "%d:%s%d:%s", len(name), name, len(data), data) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// InstanceID returns what a meta-data says is the machine's instance-id, "" for none.
func InstanceID(meta []byte) string {
	if v := instanceID(meta); v != nil {
		return v.Value
	}
	return ""
}

func instanceID(meta []byte) *yaml.Node {
	n, err := parse(MetaData, meta, 0)
	if err != nil || n == nil {
		return nil
	}
	v := get(n, "instance-id")
	if v == nil || v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		return nil
	}
	return v
}

// withInstanceID adds an instance-id to a meta-data that has none, and changes nothing else in it.
func withInstanceID(meta []byte, id string) []byte {
	n, err := parse(MetaData, meta, 0)
	switch {
	case err != nil || n == nil || n.Kind != yaml.MappingNode || len(n.Content) == 0:
		return []byte("instance-id: " + id + "\n")
	case get(n, "instance-id") != nil: // it is null
		return append([]byte("instance-id: "+id+"\n"), without(meta, "instance-id")...)
	case n.Style&yaml.FlowStyle != 0: // as JSON
		at := offset(meta, n.Line, n.Column)
		return slices.Concat(meta[:at+1], []byte(`"instance-id": "`+id+`", `), meta[at+1:])
	}
	at := offset(meta, n.Line, 1)
	return slices.Concat(meta[:at], []byte(strings.Repeat(" ", n.Column-1)+"instance-id: "+id+"\n"), meta[at:])
}

// without drops the lines of a key at the top of a block mapping.
func without(meta []byte, key string) (kept []byte) {
	for l := range bytes.Lines(meta) {
		if !bytes.HasPrefix(l, []byte(key+":")) {
			kept = append(kept, l...)
		}
	}
	return kept
}

// offset is where a line and column, both from 1 and the latter in characters, lie in bytes.
func offset(data []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := bytes.IndexByte(data[at:], '\n')
		if next < 0 {
			return at
		}
		at += next + 1
	}
	for i := range string(data[at:]) {
		if column--; column == 0 {
			return at + i
		}
	}
	return len(data)
}

// edited is what edit appends to an instance-id.
var edited = regexp.MustCompile(`-edit-[0-9a-f]{16}$`)

// edit gives the meta-data of a seed whose other files have changed another instance-id, so that the machine applies them at its next
// boot: what it said, and a sum of the files. Without an instance-id it stays as it is: Image makes one.
func (f Files) edit() []byte {
	meta := f[MetaData]
	v := instanceID(meta)
	if v == nil {
		return meta
	}
	return replaceValue(meta, v, edited.ReplaceAllString(v.Value, "")+"-edit-"+f.sum())
}

// withoutEdit undoes edit.
func withoutEdit(meta []byte) []byte {
	v := instanceID(meta)
	if v == nil || !edited.MatchString(v.Value) {
		return meta
	}
	return replaceValue(meta, v, edited.ReplaceAllString(v.Value, ""))
}

// replaceValue writes another value in a scalar's place, quoted as it was.
func replaceValue(meta []byte, v *yaml.Node, value string) []byte {
	at := offset(meta, v.Line, v.Column)
	old := v.Value
	switch {
	case v.Style&yaml.DoubleQuotedStyle != 0, v.Style&yaml.SingleQuotedStyle != 0:
		at++
	case v.Style != 0:
		return meta // a block scalar or a tagged value, which nobody writes
	}
	if !bytes.HasPrefix(meta[at:], []byte(old)) {
		return meta // it is written with escapes
	}
	return slices.Concat(meta[:at], []byte(value), meta[at+len(old):])
}

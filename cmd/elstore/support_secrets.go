package main

import (
	"bytes"
	"regexp"
)

// tellingName is what is in a key's name whose value is a secret.
const tellingName = `[\w.-]*(?:secret|passw(?:or)?d|passphrase|token|keyring|authorization|signature|(?:private|access|api)[_-]?key)[\w.-]*`

// The places where a secret can stand, though nothing that the server writes has one: what people write can.
var secretPlaces = []*regexp.Regexp{
	// A key of JSON or YAML whose name says it.
	regexp.MustCompile(`(?i)("?` + tellingName + `"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|[^\n",}\]]+)`),
	// A token of ours, wherever it was pasted.
	regexp.MustCompile(`(\belst_[0-9a-f]{16}_)([0-9a-f]{64})`),
	// A keyring of Ceph.
	regexp.MustCompile(`(?m)(^\s*key\s*=\s*)(\S+)`),
	// The user and password of a URL.
	regexp.MustCompile(`(://)([^\s/@"']+)(?:@)`),
	// Credentials in a header.
	regexp.MustCompile(`(?i)(\bbearer\s+)([\w.~+/=-]+)`),
	// A PEM block of a key.
	regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(?:-----END)`),
	// The arguments of iscsiadm and of QEMU.
	regexp.MustCompile(`(?i)(auth\.password(?:_in)?\s+(?:-v|--value)\s+|data=)(\S+)`),
}

// withoutSecrets returns text with everything replaced that stands where a secret may stand.
func withoutSecrets(text []byte) []byte {
	for _, place := range secretPlaces {
		text = place.ReplaceAllFunc(text, func(found []byte) []byte {
			at := place.FindSubmatchIndex(found)
			out := append([]byte{}, found[:at[4]]...)
			replacement := "[redacted]"
			if found[at[4]] == '"' {
				replacement = `"[redacted]"`
			}
			return append(append(out, replacement...), found[at[5]:]...)
		})
	}
	return text
}

// yamlSecret is a line of YAML with a key that is a secret's, and how far in the key stands, in a list or not.
var yamlSecret = regexp.MustCompile(`(?i)^(\s*(?:-\s+)*)(["']?` + tellingName + `["']?\s*:)(\s.*)?$`)

// withoutYAMLSecrets takes out of YAML the whole values of keys that are secrets', those of several lines too.
func withoutYAMLSecrets(text []byte) []byte {
	var out bytes.Buffer
	skip := -1 // lines that stand further in than this are of the value before them
	for line := range bytes.Lines(text) {
		body := bytes.TrimRight(line, "\r\n")
		trimmed := bytes.TrimLeft(body, " \t")
		in := len(body) - len(trimmed)
		if skip >= 0 && (len(trimmed) == 0 || in > skip || in == skip && bytes.HasPrefix(trimmed, []byte("- "))) {
			continue
		}
		skip = -1
		found := yamlSecret.FindSubmatch(body)
		if found == nil {
			out.Write(line)
			continue
		}
		skip = len(found[1])
		out.Write(found[1])
		out.Write(found[2])
		out.WriteString(" [redacted]\n")
	}
	return out.Bytes()
}

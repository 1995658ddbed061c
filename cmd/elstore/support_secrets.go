package main

import "regexp"

// The places where a secret can stand, though nothing that the server writes has one: what people write can.
var secretPlaces = []*regexp.Regexp{
	// A key of JSON or YAML whose name says it.
	regexp.MustCompile(`(?i)("?[\w.-]*(?:secret|passw(?:or)?d|passphrase|token|keyring|authorization|private_?key)[\w.-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|[^\n",}\]]+)`),
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

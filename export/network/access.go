package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"

	"elstore/export"
	"elstore/export/nbd/session"
	"elstore/volume"
)

// keysDir is where the commands of an answer keep credentials, in a directory for each export: in memory, as they can be
// asked for again.
const keysDir = "/run/elstore/keys"

// The names that QEMU, and libnbd, look for in the directory; QEMU's docs/system/tls.rst.
const (
	authorityFile   = "ca-cert.pem"
	certificateFile = "client-cert.pem"
	keyFile         = "client-key.pem"
)

// overNetwork makes out say how the volume is reached over TCP. Pure.
func overNetwork(out *export.Access, id volume.ID, r *export.Record, portals []string, c credentials) {
	host, port, err := net.SplitHostPort(portals[0])
	if err != nil {
		return // New saw them
	}
	dir := keysDir + "/" + r.User
	uri := url.URL{Scheme: "nbds", Host: portals[0], Path: "/" + id.String(), RawQuery: "tls-certificates=" + dir}
	object := struct {
		Type     string `json:"qom-type"`
		ID       string `json:"id"`
		Endpoint string `json:"endpoint"`
		Dir      string `json:"dir"`
		Verify   bool   `json:"verify-peer"`
	}{"tls-creds-x509", "keys-" + r.User, "client", dir, true}
	data, err := json.Marshal(object)
	if err != nil {
		panic("network: an answer can't be encoded: " + err.Error()) // no field of it can fail
	}
	out.URI, out.Portals, out.User, out.Object = uri.String(), portals, r.User, data
	out.Blockdev = session.Blockdev(id, r.ReadOnly, session.Server{Type: "inet", Host: host, Port: port}, object.ID)
	out.TLS = &export.Credentials{Dir: dir, Authority: c.authority, Certificate: c.certificate, Key: c.key}
	out.Keys = []string{"install -d -m 0700 " + dir}
	for _, f := range [][2]string{{authorityFile, c.authority}, {certificateFile, c.certificate}, {keyFile, c.key}} {
		// PEM has no character that printf or the shell takes for something else.
		out.Keys = append(out.Keys, fmt.Sprintf("(umask 077; printf %%b '%s' > %s/%s)", strings.ReplaceAll(f[1], "\n", `\n`), dir, f[0]))
	}
	out.Libvirt = nil // it knows one set of credentials per host, and not one per disk
}

package export

import (
	"encoding/json"
)

// Access is all that a client needs to attach a volume. It has secrets in the clear: it is for the client's own answer alone,
// and is never logged.
type Access struct {
	URI        string   `json:"uri"` // for programs of QEMU and others
	Target     string   `json:"target,omitempty"`
	Portals    []string `json:"portals,omitempty"`
	LUN        *int     `json:"lun,omitempty"`
	User       string   `json:"user,omitempty"`
	Secret     string   `json:"secret,omitempty"`
	PeerUser   string   `json:"peer_user,omitempty"`
	PeerSecret string   `json:"peer_secret,omitempty"`
	Socket     string   `json:"socket,omitempty"` // path of a unix socket
	Path       string   `json:"path,omitempty"`   // of the image itself

	// QEMU's options: the values of -object, where one is needed, and -blockdev.
	Object   json.RawMessage `json:"object,omitempty"`
	Blockdev json.RawMessage `json:"blockdev,omitempty"`

	TLS  *Credentials `json:"tls,omitempty"`  // that the client proves itself by
	Keys []string     `json:"keys,omitempty"` // commands that write them where Object looks for them, in their order

	UNC       string `json:"unc,omitempty"`       // of the file, as Windows names it; without the port
	Smbclient string `json:"smbclient,omitempty"` // command
	Mount     string `json:"mount,omitempty"`     // command for Linux

	Commands []string `json:"iscsiadm,omitempty"` // for the Linux initiator, in their order
	Libvirt  *Libvirt `json:"libvirt,omitempty"`
}

// Libvirt is XML for libvirt.
type Libvirt struct {
	Disk   string `json:"disk"`             // a <disk>
	Secret string `json:"secret,omitempty"` // a <secret>, whose value is Access.Secret
}

// Credentials are files, as PEM, that a client keeps in a directory for itself alone.
type Credentials struct {
	Dir         string `json:"dir"`
	Authority   string `json:"ca-cert.pem"`
	Certificate string `json:"client-cert.pem"`
	Key         string `json:"client-key.pem"`
}

package session

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"

	"elstore/export"
	"elstore/volume"
)

// reconnect is how long QEMU tries to reach the server again before its requests fail, in seconds.
const reconnect = 120

// Server says how QEMU's NBD client finds a server: QAPI's SocketAddress.
type Server struct {
	Type string `json:"type"` // unix or inet
	Path string `json:"path,omitempty"`
	Host string `json:"host,omitempty"`
	Port string `json:"port,omitempty"`
}

// Blockdev is the value of QEMU's -blockdev for a volume on s. credentials is the id of the object that has those for TLS, or "".
func Blockdev(id volume.ID, readonly bool, s Server, credentials string) json.RawMessage {
	type file struct {
		Driver      string `json:"driver"`
		Server      Server `json:"server"`
		Export      string `json:"export"`
		Credentials string `json:"tls-creds,omitempty"`
		Reconnect   int    `json:"reconnect-delay"`
	}
	data, err := json.Marshal(struct {
		Driver   string `json:"driver"`
		Node     string `json:"node-name"`
		ReadOnly bool   `json:"read-only"`
		Discard  string `json:"discard"`
		File     file   `json:"file"`
	}{"raw", "volume-" + id.String()[:16], readonly, "unmap", file{"nbd", s, id.String(), credentials, reconnect}})
	if err != nil {
		panic("session: an answer can't be encoded: " + err.Error()) // no field of it can fail
	}
	return data
}

// Access says how an attachment is used through its socket.
func (k *Socket) Access(m *export.Medium, readonly bool) export.Access {
	id := m.Volume.ID
	return export.Access{
		URI: "nbd+unix:///" + id.String() + "?socket=" + k.path, Socket: k.path, Blockdev: Blockdev(id, readonly, Server{Type: "unix", Path: k.path}, ""),
		Libvirt: &export.Libvirt{Disk: disk(m, readonly, fmt.Sprintf("<host transport='unix' socket='%s'/>", quote(k.path)))},
	}
}

// disk is libvirt's XML for a volume on an NBD server, which host is the element for.
func disk(m *export.Medium, readonly bool, host string) string {
	return fmt.Sprintf("<disk type='network' device='disk'><driver name='qemu' type='raw' discard='unmap'/>"+
		"<source protocol='nbd' name='%s'>%s</source>%s</disk>", m.Volume.ID, host, seen(m, readonly))
}

// FileDisk is libvirt's XML for an image that is opened by its path. format is QEMU's name for what it is.
func FileDisk(m *export.Medium, format, path string, readonly bool) string {
	return fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='%s' discard='unmap'/><source file='%s'/>%s</disk>",
		format, quote(path), seen(m, readonly))
}

// seen says how a machine sees the volume.
func seen(m *export.Medium, readonly bool) string {
	bus := string(m.Volume.Meta.Bus)
	dev := map[string]string{"virtio": "vda", "ide": "hda", "sata": "sda", "scsi": "sda"}[bus]
	if readonly {
		return fmt.Sprintf("<target dev='%s' bus='%s'/><readonly/>", dev, bus)
	}
	return fmt.Sprintf("<target dev='%s' bus='%s'/>", dev, bus)
}

// quote makes text fit for an attribute of XML.
func quote(s string) string {
	var x strings.Builder
	_ = xml.EscapeText(&x, []byte(s)) // a strings.Builder takes everything
	return x.String()
}

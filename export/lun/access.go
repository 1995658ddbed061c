package lun

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"strings"

	"elstore/export"
)

// Access implements export.Attached.
func (a *attached) Access(q *export.Request) export.Access {
	a.unit.mu.Lock()
	r := a.rec
	a.unit.mu.Unlock()
	portals := a.unit.kind.cfg.Portals
	if len(q.Portals) > 0 {
		portals = q.Portals
	}
	return access(string(a.target.Name()), portals, r, a.unit.bus)
}

// access says how an initiator attaches a target. Pure.
func access(target string, portals []string, r export.Record, bus string) export.Access {
	lun := 0
	return export.Access{
		URI: uri(target, portals[0], r), Target: target, Portals: portals, LUN: &lun,
		User: r.User, Secret: r.Secret.Reveal(), PeerUser: r.PeerUser, PeerSecret: r.PeerSecret.Reveal(),
		Object: object(r), Blockdev: blockdev(target, portals[0], r),
		Commands: commands(target, portals, r), Libvirt: libvirt(target, portals[0], r, bus),
	}
}

// uri is how libiscsi, and so QEMU, names a LUN. Our names and secrets have no characters that it would have to quote.
func uri(target, portal string, r export.Record) string {
	who := ""
	if r.User != "" {
		who = r.User + "%" + r.Secret.Reveal() + "@"
	}
	return "iscsi://" + who + portal + "/" + target + "/0"
}

// secretID names QEMU's object that has the secret.
func secretID(r export.Record) string { return "secret-" + r.User }

// object is the value of QEMU's -object for the secret.
func object(r export.Record) json.RawMessage {
	if r.User == "" {
		return nil
	}
	return encode(struct {
		Type string `json:"qom-type"`
		ID   string `json:"id"`
		Data string `json:"data"`
	}{"secret", secretID(r), r.Secret.Reveal()})
}

// blockdev is the value of QEMU's -blockdev: the raw image on the LUN.
func blockdev(target, portal string, r export.Record) json.RawMessage {
	type file struct {
		Driver    string `json:"driver"`
		Transport string `json:"transport"`
		Portal    string `json:"portal"`
		Target    string `json:"target"`
		LUN       int    `json:"lun"`
		User      string `json:"user,omitempty"`
		Secret    string `json:"password-secret,omitempty"`
		Initiator string `json:"initiator-name,omitempty"`
	}
	f := file{Driver: "iscsi", Transport: "tcp", Portal: portal, Target: target, User: r.User, Initiator: r.Initiator}
	if r.User != "" {
		f.Secret = secretID(r)
	}
	return encode(struct {
		Driver   string `json:"driver"`
		Node     string `json:"node-name"`
		ReadOnly bool   `json:"read-only"`
		Discard  string `json:"discard"`
		File     file   `json:"file"`
	}{"raw", "volume-" + target[strings.LastIndexByte(target, ':')+1:][:16], r.ReadOnly, "unmap", f})
}

func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic("lun: an answer can't be encoded: " + err.Error()) // no field of it can fail
	}
	return data
}

// commands are the lines for the Linux initiator.
func commands(target string, portals []string, r export.Record) []string {
	var lines []string
	for _, portal := range portals {
		node := "iscsiadm -m node -T " + target + " -p " + portal
		update := func(key, value string) {
			lines = append(lines, fmt.Sprintf("%s -o update -n %s -v %s", node, key, value))
		}
		lines = append(lines, node+" -o new")
		if r.User != "" {
			update("node.session.auth.authmethod", "CHAP")
			update("node.session.auth.username", r.User)
			update("node.session.auth.password", r.Secret.Reveal())
			update("node.session.auth.username_in", r.PeerUser)
			update("node.session.auth.password_in", r.PeerSecret.Reveal())
		}
		lines = append(lines, node+" --login")
	}
	return lines
}

// libvirt is the disk, and the secret that it needs, as libvirt's XML.
func libvirt(target, portal string, r export.Record, bus string) *export.Libvirt {
	host, port, err := net.SplitHostPort(portal)
	if err != nil {
		return nil // the configuration has only such
	}
	var x strings.Builder
	fmt.Fprintf(&x, "<disk type='network' device='disk'><driver name='qemu' type='raw' discard='unmap'/>")
	fmt.Fprintf(&x, "<source protocol='iscsi' name='%s/0'><host name='%s' port='%s'/>", quote(target), quote(host), quote(port))
	usage := "elstore-" + r.User
	if r.User != "" {
		fmt.Fprintf(&x, "<auth username='%s'><secret type='iscsi' usage='%s'/></auth>", quote(r.User), quote(usage))
	}
	if r.Initiator != "" {
		fmt.Fprintf(&x, "<initiator><iqn name='%s'/></initiator>", quote(r.Initiator))
	}
	dev := map[string]string{"virtio": "vda", "ide": "hda", "sata": "sda", "scsi": "sda"}[bus]
	fmt.Fprintf(&x, "</source><target dev='%s' bus='%s'/>", dev, bus)
	if r.ReadOnly {
		x.WriteString("<readonly/>")
	}
	x.WriteString("</disk>")
	out := &export.Libvirt{Disk: x.String()}
	if r.User != "" {
		out.Secret = fmt.Sprintf("<secret ephemeral='no' private='yes'><usage type='iscsi'><target>%s</target></usage></secret>", quote(usage))
	}
	return out
}

func quote(s string) string {
	var x strings.Builder
	_ = xml.EscapeText(&x, []byte(s)) // a strings.Builder takes everything
	return x.String()
}

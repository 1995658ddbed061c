package samba

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"elstore/export"
)

// access says how a client opens a file of a share at portal, which is host:port.
func access(portal, file string, r *export.Record) export.Access {
	host, port, err := net.SplitHostPort(portal)
	if err != nil { // Config's were checked
		host, port = portal, defaultPort
	}
	secret := r.Secret.Reveal()
	uri := url.URL{Scheme: "smb", User: url.UserPassword(r.User, secret), Host: net.JoinHostPort(host, port), Path: "/" + r.User + "/" + file}

	// An IPv6 address has no place in a UNC name: this is its literal form, and programs are told the address beside it.
	name, dial, ip := host, "", ""
	if strings.Contains(host, ":") {
		name = strings.ReplaceAll(strings.ReplaceAll(host, ":", "-"), "%", "s") + ".ipv6-literal.net"
		dial, ip = " -I "+host, ",ip="+host
	}
	options := "port=" + port + ip
	if r.ReadOnly {
		options += ",ro"
	}
	return export.Access{
		URI: uri.String(), Portals: []string{portal}, User: r.User, Secret: secret,
		UNC:       `\\` + name + `\` + r.User + `\` + file,
		Smbclient: fmt.Sprintf("smbclient -p %s%s -U '%s%%%s' //%s/%s", port, dial, r.User, secret, name, r.User),
		Mount:     fmt.Sprintf("mount -t cifs -o %s,username=%s,password=%s //%s/%s /mnt", options, r.User, secret, name, r.User),
	}
}

// defaultPort is where SMB is without a word about it.
const defaultPort = "445"

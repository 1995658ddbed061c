package samba

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
)

// firstUID is the first of the user ids that exist in the cell alone: the guest's. They are of nobody's on a machine.
const firstUID = 1 << 30

// guestName is the user that guests are.
const guestName = "guest"

// share is a share as smbd has it. Its name is its user's.
type share struct {
	name     string // letters and digits
	uid      uint32
	hash     [16]byte // of its user's password
	readonly bool
	guests   bool // are let in too
	ended    bool // guests were let in before: what smbd has of that is to be replaced
}

// denied is what a share has not: the file is shared with others, and stays what it is.
var denied = []string{
	"oplocks", "level2 oplocks", "kernel oplocks", "durable handles", "posix locking", "kernel share modes", "store dos attributes",
	"map archive", "map readonly", "ea support", "nt acl support", "follow symlinks", "wide links", "use sendfile", "strict allocate",
}

// globalConf writes smb.conf for an smbd that listens on an address.
func globalConf(at *net.TCPAddr, guests bool) []byte {
	var b bytes.Buffer
	b.WriteString("[global]\n")
	set := func(key, value string) { fmt.Fprintf(&b, "\t%s = %s\n", key, value) }
	for _, dir := range []string{"private", "state", "cache", "pid"} {
		name := dir + " directory"
		if dir == "private" {
			name = "private dir"
		}
		set(name, sambaDir+"/"+dir)
	}
	set("lock directory", sambaDir+"/lock")
	set("ncalrpc dir", sambaDir+"/ncalrpc")
	set("passdb backend", "smbpasswd:"+sambaDir+"/private/smbpasswd")
	set("include", "registry")
	set("registry shares", "yes")
	set("usershare max shares", "0")

	set("smb ports", strconv.Itoa(at.Port))
	if !at.IP.IsUnspecified() && at.IP != nil {
		set("interfaces", at.IP.String())
		set("bind interfaces only", "yes")
	}
	set("disable netbios", "yes")
	set("server role", "standalone server")
	set("server string", "elstore")
	set("server min protocol", "SMB2_10")
	set("server signing", "mandatory")
	set("ntlm auth", "ntlmv2-only")
	set("guest account", guestName)
	if guests {
		set("map to guest", "Bad User")
	} else {
		set("map to guest", "Never")
		set("restrict anonymous", "2")
	}
	// What most shares have: each value in the registry costs milliseconds.
	set("browseable", "no")
	set("read only", "no")
	set("guest ok", "no")
	set("valid users", "%S")
	// Nothing is served but files: no list of shares, no printers, no other pipes.
	set("rpc start on demand helpers", "no")
	set("load printers", "no")
	set("disable spoolss", "yes")
	set("printcap name", "/dev/null")
	set("host msdfs", "no")
	for _, key := range append([]string{"smb2 leases", "unix extensions"}, denied...) {
		set(key, "no")
	}
	set("strict sync", "yes")
	for _, key := range []string{"smb2 max read", "smb2 max write", "smb2 max trans"} {
		set(key, "1048576") // as much as package fuse takes at once; it bounds what a client can make us keep
	}
	set("aio max threads", "16")
	set("max smbd processes", "1000") // one for each connection, and a few
	set("log level", "1")
	set("max log size", "0")
	return b.Bytes()
}

// shareKey is where Samba's registry has shares, as subkeys.
const shareKey = `HKEY_LOCAL_MACHINE\SOFTWARE\Samba\smbconf`

// setting is a parameter of a share.
type setting struct{ key, value string }

// ownValues are the settings of a share of the own smbd.
func ownValues(s share) []setting {
	list := []setting{{"path", volumesDir + "/" + s.name}}
	if s.readonly {
		list = append(list, setting{"read only", "yes"})
	}
	if s.guests {
		list = append(list, setting{"valid users", s.name + " " + guestName}, setting{"guest ok", "yes"})
	} else if s.ended {
		list = append(list, setting{"valid users", s.name}, setting{"guest ok", "no"})
	}
	return list
}

// registryConf writes a change of the registry, in the form of .reg files: shares that come, with their settings, and names of those that
// go.
func registryConf(come []share, gone []string, values func(share) []setting) []byte {
	var b bytes.Buffer
	b.WriteString("Windows Registry Editor Version 5.00\n")
	for _, name := range gone {
		fmt.Fprintf(&b, "\n[-%s\\%s]\n", shareKey, name)
	}
	for _, s := range come {
		fmt.Fprintf(&b, "\n[%s\\%s]\n", shareKey, s.name)
		for _, v := range values(s) {
			fmt.Fprintf(&b, "%q=%q\n", v.key, v.value)
		}
	}
	// Samba's net removes a key when it comes to the next one.
	fmt.Fprintf(&b, "\n[%s]\n", shareKey)
	return b.Bytes()
}

// passwdConf writes the cell's /etc/passwd.
func passwdConf(shares []share) []byte {
	var b bytes.Buffer
	line := func(name string, uid uint32) { fmt.Fprintf(&b, "%s:x:%d:%d::/:/nonexistent\n", name, uid, uid) }
	line("root", 0)
	line(guestName, firstUID)
	for _, s := range shares {
		line(s.name, s.uid)
	}
	return b.Bytes()
}

// groupConf writes the cell's /etc/group: each user has one of its own.
func groupConf(shares []share) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "root:x:0:\n%s:x:%d:\n", guestName, firstUID)
	for _, s := range shares {
		fmt.Fprintf(&b, "%s:x:%d:\n", s.name, s.uid)
	}
	return b.Bytes()
}

// smbpasswdConf writes smbd's users, in the form of smbpasswd(5).
func smbpasswdConf(shares []share) []byte {
	var b bytes.Buffer
	for _, s := range shares {
		fmt.Fprintf(&b, "%s:%d:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:%X:[U          ]:LCT-00000001:\n", s.name, s.uid, s.hash)
	}
	return b.Bytes()
}

// nsswitchConf is the cell's nsswitch.conf: nobody is asked for users but its files.
const nsswitchConf = "passwd: files\ngroup: files\nhosts: files\n"

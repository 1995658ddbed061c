package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"elstore/export/iscsi/pdu"
)

// attachHelp writes how initiators attach the target. It shows no secret.
func attachHelp(w io.Writer, addresses []string, name pdu.Name, access credentials) error {
	var b strings.Builder
	fmt.Fprintf(&b, "iSCSI target %s, LUN 0, at %s\n", name, strings.Join(addresses, ", "))
	portal := reachable(addresses[0])
	user := ""
	if access.user != "" {
		user = access.user + "%SECRET@"
	}
	fmt.Fprintf(&b, "\nQEMU, libiscsi:\n  iscsi://%s%s/%s/0\n", user, portal, name)
	node := fmt.Sprintf("  iscsiadm -m node -T %s -p %s", name, portal)
	fmt.Fprintf(&b, "\nLinux:\n%s -o new\n", node) // discovery without a proof would not show a target that asks for CHAP
	settings := []string{}
	if access.user != "" {
		settings = append(settings, "authmethod -v CHAP", "username -v "+quote(access.user), "password -v SECRET")
	}
	if access.mutualName != "" {
		settings = append(settings, "username_in -v "+quote(access.mutualName), "password_in -v SECRET")
	}
	for _, s := range settings {
		fmt.Fprintf(&b, "%s -o update -n node.session.auth.%s\n", node, s)
	}
	fmt.Fprintf(&b, "%s --login\n", node)
	_, err := io.WriteString(w, b.String())
	return err
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// reachable puts this machine's name into an address that stands for all of its own.
func reachable(address string) string {
	bound, err := netip.ParseAddrPort(address)
	if err != nil || !bound.Addr().IsUnspecified() {
		return address
	}
	host, err := os.Hostname()
	if err != nil {
		return address
	}
	return net.JoinHostPort(host, fmt.Sprint(bound.Port()))
}

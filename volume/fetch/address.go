package fetch

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// refusal is the error of an address that may not be connected to.
type refusal struct {
	addr   netip.Addr
	reason string
}

func (r *refusal) Error() string { return fmt.Sprintf("its address %v %s", r.addr, r.reason) }

// control runs before each connection is made, with the very address that it goes to: no DNS answer, however
// short-lived, can get between the check and its use.
func (c *Client) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return &refusal{reason: "can't be understood"}
	}
	return c.config.check(to.Addr())
}

// check returns a *refusal if addr may not be connected to.
func (c Config) check(addr netip.Addr) error {
	for _, a := range []netip.Addr{addr.WithZone("").Unmap(), innermost(addr)} {
		for _, allowed := range c.AllowedNetworks {
			if allowed.Contains(a) {
				return nil
			}
		}
	}
	reason, private := forbidden(addr)
	if reason == "" || private && c.AllowPrivate {
		return nil
	}
	return &refusal{addr, reason}
}

// special is a network that a stranger's URL may not lead to.
type special struct {
	network netip.Prefix
	private bool // AllowPrivate admits it
	reason  string
}

// specials are the IPv4 networks of the IANA special-purpose registry and multicast. Nothing of IPv6 needs to be
// listed but what deserves a reason of its own: outside of 2000::/3 nothing is global.
var specials = []special{
	{netip.MustParsePrefix("127.0.0.0/8"), true, "is a loopback address"},
	{netip.MustParsePrefix("10.0.0.0/8"), true, "is a private address"},
	{netip.MustParsePrefix("172.16.0.0/12"), true, "is a private address"},
	{netip.MustParsePrefix("192.168.0.0/16"), true, "is a private address"},
	{netip.MustParsePrefix("100.64.0.0/10"), true, "is a shared address of a provider's network"},
	{netip.MustParsePrefix("169.254.0.0/16"), false, "is a link-local address"},
	{netip.MustParsePrefix("0.0.0.0/8"), false, "is an unspecified address"},
	{netip.MustParsePrefix("192.0.0.0/24"), false, "is reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), false, "is for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), false, "is reserved"},
	{netip.MustParsePrefix("198.18.0.0/15"), false, "is for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), false, "is for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), false, "is for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), false, "is a multicast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), false, "is reserved"},

	{netip.MustParsePrefix("::1/128"), true, "is a loopback address"},
	{netip.MustParsePrefix("fc00::/7"), true, "is a private address"},
	{netip.MustParsePrefix("::/128"), false, "is an unspecified address"},
	{netip.MustParsePrefix("fe80::/10"), false, "is a link-local address"},
	{netip.MustParsePrefix("ff00::/8"), false, "is a multicast address"},
	{netip.MustParsePrefix("2001:db8::/32"), false, "is for documentation"},
	{netip.MustParsePrefix("3fff::/20"), false, "is for documentation"},
	{netip.MustParsePrefix("2001::/23"), false, "is reserved"}, // also Teredo, 2001::/32, which leads anywhere
}

var global6 = netip.MustParsePrefix("2000::/3")

// forbidden says why addr is not a public unicast address, "" if it is one, and whether it is only private.
func forbidden(addr netip.Addr) (reason string, private bool) {
	outer := addr.WithZone("").Unmap()
	if !outer.IsValid() {
		return "is no address", false
	}
	inner := innermost(addr)
	for _, s := range specials {
		switch {
		case !s.network.Contains(inner):
		case inner == outer:
			return s.reason, s.private
		default: // AllowPrivate means addresses that are private themselves
			return fmt.Sprintf("holds %v, which %s", inner, s.reason), false
		}
	}
	if outer.Is6() && !global6.Contains(outer) && !nat64.Contains(outer) {
		return "is not a public address", false
	}
	return "", false
}

// Networks whose addresses hold an IPv4 address that a gateway would go on to. 64:ff9b:1::/48 (RFC 8215) is not
// here: where its addresses hold one is known to its network alone, so it is refused whole.
var (
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 section 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765 section 2.1
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052 section 2.1
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056 section 2
)

// innermost returns the IPv4 address that addr holds, if it holds one, else addr without its zone.
func innermost(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if !addr.Is6() {
		return addr
	}
	b := addr.As16()
	switch {
	case addr.IsUnspecified(), addr.IsLoopback():
	case compatible.Contains(addr), translated.Contains(addr), nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

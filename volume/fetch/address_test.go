package fetch

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"elstore/volume/fault"
)

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ addr, says string }{
		"public":                {"93.184.215.14", ""},
		"public, mapped":        {"::ffff:93.184.215.14", ""},
		"public 6":              {"2606:2800:21f:cb07:6820:80da:af6b:8b2c", ""},
		"public by NAT64":       {"64:ff9b::93.184.215.14", ""},
		"public by 6to4":        {"2002:5db8:d70e::1", ""},
		"below private":         {"9.255.255.255", ""},
		"above private":         {"11.0.0.0", ""},
		"below 172.16":          {"172.15.255.255", ""},
		"above 172.31":          {"172.32.0.0", ""},
		"below shared":          {"100.63.255.255", ""},
		"above shared":          {"100.128.0.0", ""},
		"loopback":              {"127.0.0.1", "127.0.0.1 is a loopback address"},
		"loopback's end":        {"127.255.255.254", "is a loopback address"},
		"loopback 6":            {"::1", "is a loopback address"},
		"loopback, mapped":      {"::ffff:127.0.0.1", "is a loopback address"},
		"loopback, compatible":  {"::127.0.0.1", "holds 127.0.0.1, which is a loopback address"},
		"loopback, translated":  {"::ffff:0:127.0.0.1", "holds 127.0.0.1, which is a loopback address"},
		"loopback by NAT64":     {"64:ff9b::127.0.0.1", "holds 127.0.0.1, which is a loopback address"},
		"loopback by 6to4":      {"2002:7f00:1::", "holds 127.0.0.1, which is a loopback address"},
		"unspecified":           {"0.0.0.0", "is an unspecified address"},
		"this network":          {"0.1.2.3", "is an unspecified address"},
		"unspecified 6":         {"::", "is an unspecified address"},
		"unspecified, mapped":   {"::ffff:0.0.0.0", "is an unspecified address"},
		"private 10":            {"10.1.2.3", "is a private address"},
		"private 172":           {"172.31.255.255", "is a private address"},
		"private 192":           {"192.168.0.1", "is a private address"},
		"private by NAT64":      {"64:ff9b::10.0.0.1", "holds 10.0.0.1, which is a private address"},
		"private by 6to4":       {"2002:c0a8:0001::1", "holds 192.168.0.1, which is a private address"},
		"unique local":          {"fd00::1", "is a private address"},
		"shared":                {"100.64.0.1", "is a shared address of a provider's network"},
		"metadata service":      {"169.254.169.254", "is a link-local address"},
		"metadata by NAT64":     {"64:ff9b::a9fe:a9fe", "holds 169.254.169.254, which is a link-local address"},
		"link-local 6":          {"fe80::1", "is a link-local address"},
		"link-local, zone":      {"fe80::1%lo", "is a link-local address"},
		"metadata 6":            {"fd00:ec2::254", "is a private address"},
		"multicast":             {"224.0.0.1", "is a multicast address"},
		"multicast 6":           {"ff02::1", "is a multicast address"},
		"broadcast":             {"255.255.255.255", "is reserved"},
		"class E":               {"240.0.0.1", "is reserved"},
		"documentation":         {"192.0.2.1", "is for documentation"},
		"documentation 6":       {"2001:db8::1", "is for documentation"},
		"benchmark":             {"198.19.0.1", "is for benchmarks"},
		"Teredo":                {"2001:0:4136:e378:8000:63bf:3fff:fdd2", "is reserved"},
		"local NAT64":           {"64:ff9b:1::8.8.8.8", "is not a public address"},
		"site-local":            {"fec0::1", "is not a public address"},
		"discard":               {"100::1", "is not a public address"},
		"public, compatible":    {"::8.8.8.8", "is not a public address"},
		"outside of global":     {"4000::1", "is not a public address"},
		"zone on a public one":  {"2606:2800::1%eth0", ""},
		"mapped with a zone":    {"::ffff:10.0.0.1%eth0", "is a private address"},
		"nothing":               {"", "is no address"},
		"protocol assignments":  {"192.0.0.8", "is reserved"},
		"6to4 relay":            {"192.88.99.1", "is reserved"},
		"documentation 6, new":  {"3fff::1", "is for documentation"},
		"documentation 2 and 3": {"203.0.113.9", "is for documentation"},
	} {
		t.Run(name, func(t *testing.T) {
			var addr netip.Addr
			if c.addr != "" {
				addr = netip.MustParseAddr(c.addr)
			}
			err := Config{}.check(addr)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v, want %q", c.addr, err, c.says)
			}
		})
	}
}

func TestCheckByConfiguration(t *testing.T) {
	private := Config{AllowPrivate: true}
	networks := Config{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("2001:db8:1::/48")}}
	for name, c := range map[string]struct {
		config Config
		addr   string
		want   bool
	}{
		"private":                    {private, "10.0.0.1", true},
		"private, mapped":            {private, "::ffff:10.0.0.1", true},
		"unique local":               {private, "fd00::1", true},
		"shared":                     {private, "100.64.0.1", true},
		"loopback":                   {private, "127.0.0.1", true},
		"loopback 6":                 {private, "::1", true},
		"metadata service":           {private, "169.254.169.254", false},
		"link-local 6":               {private, "fe80::1", false},
		"unspecified":                {private, "0.0.0.0", false},
		"multicast":                  {private, "224.0.0.1", false},
		"private by NAT64":           {private, "64:ff9b::10.0.0.1", false},
		"in the network":             {networks, "10.7.1.2", true},
		"in the network, mapped":     {networks, "::ffff:10.7.1.2", true},
		"in the network, NAT64":      {networks, "64:ff9b::10.7.1.2", true},
		"in the network, zone":       {networks, "fe80::1%eth0", true},
		"in the network 6":           {networks, "2001:db8:1::5", true},
		"next to the network":        {networks, "10.8.0.1", false},
		"next to the network, NAT64": {networks, "64:ff9b::10.8.0.1", false},
		"loopback by networks":       {networks, "127.0.0.1", false},
		"public by networks":         {networks, "93.184.215.14", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.config.check(netip.MustParseAddr(c.addr)); (err == nil) != c.want {
				t.Errorf("got %v, want allowed %v", err, c.want)
			}
		})
	}
}

// A name is checked by what it resolves to, however the address is spelt; nothing of it reaches the listener.
func TestNoSpellingReachesLoopback(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		conn, err := listener.Accept()
		if err == nil {
			t.Errorf("a connection from %v came through", conn.RemoteAddr())
			_ = conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	c := New(Config{Tries: 1, ConnectTimeout: 5 * time.Second})
	defer c.Close()
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "user@localhost", "127.0.0.2", "0.0.0.0", "[::1]", "[::]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "127.1", "0", "0x7f.1", "0177.0.0.1", "2130706433",
		"0x7f000001", "127.0.0.1.", "①②⑦.0.0.1", "127。0。0。1", "[::1%25lo]", "127.0.0.1%20", "[64:ff9b::127.0.0.1]",
	} {
		t.Run(host, func(t *testing.T) {
			_, err := c.Open(t.Context(), "http://"+host+":"+port+"/", 0)
			if !fault.Is(err, fault.FetchForbidden) && !fault.Is(err, fault.FetchFailed) {
				t.Errorf("got %v", err)
			}
		})
	}
	_ = listener.Close()
	<-accepted
}

func TestRefusalNamesHostAndReason(t *testing.T) {
	c := New(Config{})
	defer c.Close()
	for name, c2 := range map[string]struct{ url, says string }{
		"address": {"http://127.0.0.1:1/x", "the host 127.0.0.1 can't be fetched from: its address 127.0.0.1 is a loopback address"},
		"name":    {"http://localhost:1/x", "the host localhost can't be fetched from: its address "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Open(t.Context(), c2.url, 0)
			if !fault.Is(err, fault.FetchForbidden) || !strings.HasPrefix(err.Error(), c2.says) || !strings.Contains(err.Error(), "is a loopback address") {
				t.Errorf("got %v", err)
			}
			if _, ok := errors.AsType[*refusal](err); !ok {
				t.Error("the refusal is not the cause")
			}
		})
	}
}

// The check stands at the dial: an address that passed every earlier check is refused there too.
func TestControlChecksTheVeryAddress(t *testing.T) {
	c := New(Config{})
	for name, tc := range map[string]struct {
		network, address string
		want             bool
	}{
		"public":    {"tcp4", "93.184.215.14:80", true},
		"public 6":  {"tcp6", "[2606:2800::1]:443", true},
		"rebound":   {"tcp4", "127.0.0.1:80", false},
		"rebound 6": {"tcp6", "[::ffff:127.0.0.1]:80", false},
		"zone":      {"tcp6", "[fe80::1%lo]:80", false},
		"a name":    {"tcp4", "localhost:80", false},
		"a socket":  {"unix", "/run/docker.sock", false},
		"UDP":       {"udp4", "93.184.215.14:80", false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.control(t.Context(), tc.network, tc.address, nil); (err == nil) != tc.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzCheck: an address passes only if each IPv4 address that it may stand for passes too.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::ffff:10.0.0.1", "2606:2800::1", "fe80::1"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok || (Config{}).check(addr) != nil {
			return
		}
		if a := addr.Unmap(); a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || !a.IsGlobalUnicast() {
			t.Fatalf("%v passes", addr)
		}
		if inner := innermost(addr); (Config{}).check(inner) != nil {
			t.Fatalf("%v passes and holds %v", addr, inner)
		}
	})
}

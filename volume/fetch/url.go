package fetch

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"elstore/volume/fault"
)

// maxURL is how long a URL may be, in bytes.
const maxURL = 8 << 10

// parse reads a URL that may be fetched: http or https, absolute, with a host. Whether its host's addresses may
// be connected to is checked when they are, and here only where the host is an address already. Messages
// don't repeat what can't be parsed, because a password may stand anywhere in it.
func (c Config) parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fault.Errorf(fault.FetchForbidden, "the URL is %d bytes long; at most %d are allowed", len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || !utf8.ValidString(raw) || strings.ContainsFunc(raw, unicode.IsControl) {
		return nil, fault.Errorf(fault.FetchForbidden, "the URL is malformed; allowed is http://host/path or https://host/path")
	}
	if err := c.allowed(u); err != nil {
		return nil, err
	}
	return u, nil
}

// allowed checks a URL that was parsed, also as the target of a redirect.
func (c Config) allowed(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fault.Errorf(fault.FetchForbidden, "URLs of the scheme %q can't be fetched; allowed are http and https", shorten(u.Scheme))
	}
	host := u.Hostname()
	if u.Opaque != "" || host == "" {
		return fault.Errorf(fault.FetchForbidden, "the URL names no host; allowed is %s://host/path", u.Scheme)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fault.Errorf(fault.FetchForbidden, "the URL's port is %s; allowed is 1 to 65535", shorten(port))
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if err := c.check(addr); err != nil {
			return fault.Errorf(fault.FetchForbidden, "the host %s can't be fetched from: %w; the configuration can allow networks", host, err)
		}
	}
	return nil
}

// Redact returns raw as logs and messages may show it: scheme, host and path, with no user, password, query or
// fragment. What is no URL becomes "(malformed URL)".
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "(malformed URL)"
	}
	return redacted(u)
}

func redacted(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return shorten(bare.String())
}

// shorten cuts what stands in a message after 200 bytes. What it is given has no control characters: hosts and
// escaped URLs.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

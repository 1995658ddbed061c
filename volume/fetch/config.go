package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"elstore/volume/fault"
)

// Config says what a Client may do. The zero value is usable: public addresses only and the defaults below.
type Config struct {
	AllowPrivate    bool           // also private (RFC 1918, RFC 4193), shared (RFC 6598) and loopback addresses
	AllowedNetworks []netip.Prefix // also these networks, whatever they are

	MaxBytes       int64         // the largest download; 0 is 1 TiB
	ConnectTimeout time.Duration // for DNS and connecting, and once more for the TLS handshake; 0 is 30 s
	HeaderTimeout  time.Duration // from the request to the answer's header; 0 is 60 s
	StallTimeout   time.Duration // waiting for the next 4 KiB of a body; 0 is 60 s
	Tries          int           // how often in a row a download may break with less than 1 MiB gained; 0 is 5
	Backoff        time.Duration // the wait after the first break, doubled after each further one up to 30 s; 0 is 1 s

	UserAgent string         // "" is "elstore"
	RootCAs   *x509.CertPool // the certificate authorities that TLS trusts; nil is the system's
}

const maxBackoff = 30 * time.Second

func (c Config) withDefaults() Config {
	set(&c.MaxBytes, 1<<40)
	set(&c.ConnectTimeout, 30*time.Second)
	set(&c.HeaderTimeout, time.Minute)
	set(&c.StallTimeout, time.Minute)
	set(&c.Tries, 5)
	set(&c.Backoff, time.Second)
	set(&c.UserAgent, "elstore")
	return c
}

func set[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Client downloads. It may be used by many goroutines at once.
type Client struct {
	config    Config
	transport *http.Transport
}

// New returns a Client for config.
func New(config Config) *Client {
	c := &Client{config: config.withDefaults()}
	dialer := &net.Dialer{Timeout: c.config.ConnectTimeout, ControlContext: c.control}
	c.transport = &http.Transport{
		Proxy:                  nil, // a proxy would connect to addresses that were never checked
		DialContext:            named(dialer.DialContext),
		TLSClientConfig:        &tls.Config{RootCAs: c.config.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    c.config.ConnectTimeout,
		ResponseHeaderTimeout:  c.config.HeaderTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // the bytes as they are stored: they are counted, hashed and resumed
	}
	return c
}

// Close gives up connections that are kept for the next download. Running downloads go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// named makes dial's refusals name the host that was asked for, where the check itself only saw an address.
func named(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if refused, ok := errors.AsType[*refusal](err); ok {
			host, _, splitErr := net.SplitHostPort(address)
			if splitErr != nil {
				host = address
			}
			return nil, fault.Errorf(fault.FetchForbidden,
				"the host %s can't be fetched from: %w; the configuration can allow networks", shorten(host), refused)
		}
		return conn, err
	}
}

package client

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultURL is where a server listens that was told nothing else.
const DefaultURL = "http://127.0.0.1:7772"

// base is the path of the API's version that this package speaks.
const base = "/api/v1.0"

// Config says how a Client reaches its server. Zero values are the defaults.
type Config struct {
	// BaseURL is the server's address, http or https, with the path that a proxy in front of it may want, and
	// without /api/v1.0. "host:port" is http. "" is DefaultURL.
	BaseURL string
	// HTTP sends the requests. nil is a client of our own, which goes straight to the server, whatever proxy
	// the environment names. Its Timeout, if set, cuts long uploads and downloads too.
	HTTP *http.Client
	// Token is sent as a bearer token where it is set.
	Token string
	// TLS says whom to take for the server, and which certificate to show it, where HTTP is nil. nil is the system's authorities.
	TLS *tls.Config
	// UserAgent is "elstore-client" if "".
	UserAgent string

	// Retries is how often a request is sent again after the line broke. 0 is 3; less than 0 is never.
	Retries int
	// RetryDelay passes before the first repetition and doubles with each, up to 2 s. 0 is 100 ms.
	RetryDelay time.Duration
	// Patience is how long what follows the server (Operation.Wait, Events, Upload, Download) goes on after the
	// line broke while nothing comes of it. 0 is 30 s; less than 0 is not at all.
	Patience time.Duration
	// Timeout bounds a call that the server answers at once. 0 is 60 s. Calls that take long have no bound of
	// their own but the context's.
	Timeout time.Duration
}

// Client calls one server. Make it with New. Its methods may be called at the same time.
type Client struct {
	cfg  Config
	http *http.Client
	base string // the API's address, without a slash at the end
}

// New checks cfg and returns a Client. It sends nothing.
func New(cfg Config) (*Client, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultURL
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "elstore-client"
	}
	if cfg.Retries == 0 {
		cfg.Retries = 3
	}
	if cfg.RetryDelay <= 0 {
		cfg.RetryDelay = 100 * time.Millisecond
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Minute
	}
	u, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	cfg.BaseURL = u
	c := &Client{cfg: cfg, http: cfg.HTTP, base: u + base}
	if c.http == nil {
		t := transport()
		t.TLSClientConfig = cfg.TLS.Clone() // of nil it is nil
		c.http = &http.Client{Transport: t}
	}
	return c, nil
}

// BaseURL returns the server's address, as it is used.
func (c *Client) BaseURL() string { return c.cfg.BaseURL }

// HasToken reports whether the server is shown a token.
func (c *Client) HasToken() bool { return c.cfg.Token != "" }

// Close drops the connections that are idle. The Client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// parseBase returns the address without a slash at the end.
func parseBase(s string) (string, error) {
	refused := func(why string) (string, error) {
		return "", fmt.Errorf("server address %q %s; it looks like %s", s, why, DefaultURL)
	}
	text := s
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return refused("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return refused("is neither http nor https")
	case u.Hostname() == "":
		return refused("names no host")
	case u.User != nil:
		return refused("bears a user name or password, which is not taken here")
	case u.RawQuery != "" || u.Fragment != "":
		return refused("has a query or fragment")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

// transport is the default one's settings without its proxies, and with patience for a server that answers only
// when long work is done.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
		DisableCompression:    true, // images are sent as they are, and Content-Length must stay theirs
		ForceAttemptHTTP2:     true,
	}
}

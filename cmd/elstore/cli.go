package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

// anybody is who one is on a server on this machine, if one says nothing else: the client of the API's examples.
const anybody = "ffffffffffffffffffffffffffffffff"

// cli is what the client commands share: the flags of the root command.
type cli struct {
	server string
	client string
	json   bool
	quiet  bool

	tokenFile string
	ca        string
}

// serverURL is the flag's, else the environment's, else the default.
func (c *cli) serverURL() string {
	if c.server != "" {
		return c.server
	}
	if env := os.Getenv("ELSTORE_SERVER"); env != "" {
		return env
	}
	return client.DefaultURL
}

// connect returns a client of the server. Nothing is sent yet.
func (c *cli) connect() (*client.Client, error) {
	return c.connectWith(client.Config{})
}

func (c *cli) connectWith(cfg client.Config) (*client.Client, error) {
	cfg.BaseURL, cfg.UserAgent = c.serverURL(), "elstore/"+version
	if err := c.identify(&cfg); err != nil {
		return nil, err
	}
	cl, err := client.New(cfg)
	if err != nil {
		return nil, &usageError{err}
	}
	return cl, nil
}

// session is a client and who one is for it.
type session struct {
	*client.Client
	me string
}

// begin connects for a command that needs to say who one is.
func (c *cli) begin(ctx context.Context) (*session, error) {
	cl, err := c.connect()
	if err != nil {
		return nil, err
	}
	if c.client == "" && os.Getenv("ELSTORE_CLIENT") == "" && cl.HasToken() {
		who, err := cl.WhoAmI(ctx)
		if err != nil {
			return nil, err
		}
		if who.Identity != "" {
			return &session{cl, who.Identity}, nil
		}
	}
	me, err := c.identity(cl.BaseURL())
	if err != nil {
		return nil, err
	}
	return &session{cl, me}, nil
}

// identity says who one is for the server.
func (c *cli) identity(server string) (string, error) {
	id, from := c.client, "--client"
	if id == "" {
		id, from = os.Getenv("ELSTORE_CLIENT"), "ELSTORE_CLIENT"
	}
	if id != "" {
		compact, ok := fullID(id)
		if !ok {
			return "", usagef("%s is %q; it is 32 hexadecimal digits, or a UUID", from, id)
		}
		return compact, nil
	}
	if !loopback(server) {
		return "", usagef("the server at %s is not on this machine; say who you are with --client or ELSTORE_CLIENT", server)
	}
	return anybody, nil
}

var idForm = regexp.MustCompile(`^(?:[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$`)

// fullID returns the compact form of a whole id.
func fullID(s string) (string, bool) {
	s = strings.ToLower(s)
	return strings.ReplaceAll(s, "-", ""), idForm.MatchString(s)
}

// loopback reports whether a server is on this machine.
func loopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

// each runs fn for every argument, also where one failed, and joins the errors.
func each(cmd *cobra.Command, args []string, fn func(arg string) error) error {
	var errs joined
	for _, arg := range args {
		if err := fn(arg); err != nil {
			errs = append(errs, err)
		}
		if cmd.Context().Err() != nil {
			break
		}
	}
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return errs
}

// joined are the errors of several arguments.
type joined []error

func (j joined) Error() string   { return errors.Join(j...).Error() }
func (j joined) Unwrap() []error { return j }

// printf writes to the command's output.
func printf(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	return err
}

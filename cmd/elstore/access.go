package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"elstore/api"
	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/oidc"
)

const auditDir = "audit"

// guards are the parts that say who may come in.
type guards struct {
	tokens  *access.Tokens
	audit   *audit.Log
	clients *api.Clients    // nil where no client certificates are taken
	control *access.Control // nil where nobody is asked who he is

	dir *os.Root // of the audit log
}

func (g *guards) close() error { return errors.Join(g.audit.Close(), g.dir.Close()) }

// checkAccess refuses what can't be meant.
func (o *options) checkAccess() error {
	switch {
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	case o.clientCA != "" && o.tlsCert == "":
		return errors.New("--client-ca is for TLS: say --tls-cert and --tls-key, too")
	case o.clientCRL != "" && o.clientCA == "":
		return errors.New("--client-crl is of the authorities of --client-ca: say that, too")
	case (o.oidcIssuer == "") != (o.oidcAudience == ""):
		return errors.New("--oidc-issuer and --oidc-audience need each other")
	case !o.accessControl && (o.clientCA != "" || o.oidcIssuer != ""):
		return errors.New("--client-ca and --oidc-issuer say who a caller is, and nobody is asked without --access-control")
	}
	return nil
}

// newGuards opens the tokens and the audit log in the state directory.
func newGuards(st *state, o options, log *slog.Logger) (g *guards, err error) {
	g = &guards{}
	if g.tokens, err = access.OpenTokens(st.root); err != nil {
		return nil, err
	}
	if err := st.root.MkdirAll(auditDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if g.dir, err = st.root.OpenRoot(auditDir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if g.audit, err = audit.Open(audit.Config{Dir: g.dir}); err != nil {
		return nil, errors.Join(err, g.dir.Close())
	}
	if !o.accessControl {
		return g, nil
	}
	var other access.Verifier
	if o.oidcIssuer != "" {
		v, err := oidc.New(oidc.Config{Issuer: o.oidcIssuer, Audience: o.oidcAudience, Log: log})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--oidc-issuer: %w", err), g.close())
		}
		other = v
	}
	g.control = access.NewControl(g.tokens, other)
	if o.clientCA != "" {
		if g.clients, err = api.LoadClients(o.clientCA, o.clientCRL, log); err != nil {
			return nil, errors.Join(fmt.Errorf("--client-ca: %w", err), g.close())
		}
		g.control.WithCheck(g.clients.Check)
	}
	if len(g.tokens.List()) == 0 && other == nil && o.clientCA == "" {
		log.Warn("nobody can come in: there are no tokens; stop the server and make one with elstore token create --state")
	}
	return g, nil
}

// secure puts TLS into the API's listeners, where it is asked for.
func (o *options) secure(listeners []net.Listener, clients *api.Clients, log *slog.Logger) error {
	if o.tlsCert == "" {
		for _, l := range listeners {
			if tcp, ok := l.Addr().(*net.TCPAddr); o.accessControl && ok && !tcp.IP.IsLoopback() {
				log.Warn("tokens travel in clear: without --tls-cert whoever is between can read them", slog.String("address", l.Addr().String()))
			}
		}
		return nil
	}
	cert, err := api.LoadCertificate(o.tlsCert, o.tlsKey, log)
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	for i, l := range listeners {
		listeners[i] = api.Secure(l, cert, clients)
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// options are the flags of `elstore serve`.
type options struct {
	root, listen, debugListen, config, state, readyFile, logLevel, logFormat string

	importDirs, fetchAllow      []string
	iscsiListen, iscsiAdvertise []string
	nbdListen                   []string

	sambaListen, sambaConf string

	tlsCert, tlsKey, clientCA, clientCRL, oidcIssuer, oidcAudience string

	accessControl bool

	insecure, fetchPrivate, iscsiNoCHAP, sambaGuests bool

	grace, rescan, lockWait time.Duration
}

func newServeCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the storage server",
		Long: `Run the storage server.

It finds the pools under --root (directories with a settings.json), recovers what a crash left,
lets in again whoever volumes are exported to, and answers the API on --listen, and iSCSI
initiators on --iscsi-listen, until it gets SIGTERM or Ctrl-C.

Every flag can also be set in the file that --config names (YAML, the keys are the flags' names)
and by a variable: ELSTORE_IMPORT_DIR for --import-dir. The command line wins over the
environment, and that over the file.`,
		Example: `  elstore serve
  elstore serve --root ./mnt --listen 127.0.0.1:0
  elstore serve --config /etc/elstore.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := configure(cmd.LocalNonPersistentFlags(), os.LookupEnv); err != nil {
				return err
			}
			log, err := newLogger(cmd.ErrOrStderr(), o.logLevel, o.logFormat)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), o, log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "/mnt", "directory to look for pools in")
	f.StringVar(&o.listen, "listen", "127.0.0.1:7772", "address of the API; port 0 is any free one")
	f.StringVar(&o.debugListen, "debug-listen", "", "loopback address for profiles of this process (/debug/pprof/), as 127.0.0.1:6060; off unless it is given")
	f.StringArrayVar(&o.iscsiListen, "iscsi-listen", []string{"127.0.0.1:3260"}, "address of an iSCSI portal; port 0 is any free one; may be repeated")
	f.StringArrayVar(&o.iscsiAdvertise, "iscsi-advertise", nil, "host:port under which initiators reach a portal, where that is not what it listens on; may be repeated")
	f.BoolVar(&o.iscsiNoCHAP, "iscsi-no-chap", false, "let initiators in by their name alone, which they can make up: for closed networks")
	f.StringArrayVar(&o.nbdListen, "nbd-listen", nil, "address to export volumes over NBD on, with TLS, as 127.0.0.1:10809; port 0 is any free one; may be repeated")
	f.StringVar(&o.sambaListen, "samba-listen", "", "address to export volumes over SMB on, as 127.0.0.1:445, with an smbd of our own; needs root and Samba's programs")
	f.StringVar(&o.sambaConf, "samba-conf", "", "smb.conf of the machine's own smbd, as /etc/samba/smb.conf: volumes are exported through that, with a share and an account of the machine for each export, and --samba-listen is where it listens (default :445)")
	f.BoolVar(&o.sambaGuests, "samba-guests", false, "let everybody read ISO volumes that are exported over SMB and not private, without a password")
	f.StringVar(&o.config, configFlag, "", "file with settings, YAML")
	f.StringVar(&o.state, "state", "", "directory for the server's own state (default <root>/.elstore)")
	f.StringVar(&o.readyFile, "ready-file", "", "file to write the addresses to, as JSON, when the server is ready")
	f.StringArrayVar(&o.importDirs, "import-dir", nil, "directory that images may be imported from; may be repeated")
	f.StringArrayVar(&o.fetchAllow, "fetch-allow", nil, "network that URLs may lead to though it is not public, as 10.1.0.0/16; may be repeated")
	f.BoolVar(&o.fetchPrivate, "fetch-private", false, "let URLs lead to private and loopback addresses")
	f.BoolVar(&o.accessControl, "access-control", false, "ask every caller of the API who it is: for a token (see elstore token), a client certificate or an access token")
	f.StringVar(&o.tlsCert, "tls-cert", "", "file with the API's certificate and its chain, PEM; a new one is taken up while the server runs (see elstore cert)")
	f.StringVar(&o.tlsKey, "tls-key", "", "file with the key of --tls-cert, PEM")
	f.StringVar(&o.clientCA, "client-ca", "", "file with the authorities whose client certificates say who a caller is, PEM; taken up anew while the server runs")
	f.StringVar(&o.clientCRL, "client-crl", "", "file with the lists of certificates that the authorities of --client-ca revoked, PEM or DER; taken up anew while the server runs")
	f.StringVar(&o.oidcIssuer, "oidc-issuer", "", "URL of an OpenID Connect authority whose access tokens say who a caller is")
	f.StringVar(&o.oidcAudience, "oidc-audience", "", "what the access tokens of --oidc-issuer must be meant for")
	f.BoolVar(&o.insecure, "insecure", false, "listen on other than loopback addresses without access control: whoever reaches them owns the volumes")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	f.DurationVar(&o.grace, "grace", 30*time.Second, "how long work that runs may go on when the server is told to stop")
	f.DurationVar(&o.rescan, "rescan", 30*time.Second, "how often pools are looked for where the file system doesn't notify")
	f.DurationVar(&o.lockWait, "lock-wait", 5*time.Second, "how long a call waits for another on the same volume before it is answered 409")
	return cmd
}

// check refuses what can't be meant, and completes what was left out.
func (o *options) check() error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root = root
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return fmt.Errorf("--root %s is not a directory; make it, or name the one that holds the pools", o.root)
	}
	if o.state == "" {
		o.state = filepath.Join(root, ".elstore")
	}
	if o.state, err = filepath.Abs(o.state); err != nil {
		return err
	}
	for i, dir := range o.importDirs {
		if o.importDirs[i], err = filepath.Abs(dir); err != nil {
			return err
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("--import-dir %s is not a directory", dir)
		}
	}
	if err := o.checkAccess(); err != nil {
		return err
	}
	for name, d := range map[string]time.Duration{"grace": o.grace, "rescan": o.rescan, "lock-wait": o.lockWait} {
		if d <= 0 {
			return fmt.Errorf("--%s is %v; it must be more than 0", name, d)
		}
	}
	return nil
}

// networks parses --fetch-allow.
func (o *options) networks() ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, text := range o.fetchAllow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--fetch-allow %q is not a network such as 10.1.0.0/16: %w", text, err)
		}
		nets = append(nets, p)
	}
	return nets, nil
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not one of debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not one of json, text", format)
}

// writeReady tells whoever waits for it what a server is ready for, in one moment.
func writeReady(path string, ready map[string]any) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	temp := path + ".tmp"
	if err := os.WriteFile(temp, append(data, '\n'), 0o644); err != nil { //nolint:gosec // for others to read, and no secret
		return err
	}
	return os.Rename(temp, path)
}

// serve runs a server until ctx ends.
func serve(ctx context.Context, o options, log *slog.Logger) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	s, err := newServer(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }() //nolint:contextcheck // closing goes on when ctx has ended
	return s.run(ctx, o)
}

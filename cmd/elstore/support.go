package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/api/client"
)

// partTime is how long one part of a support bundle may take, maxPart how many bytes of it are kept: the last ones.
const (
	partTime = 20 * time.Second
	maxPart  = 16 << 20
)

func newSupportBundleCommand(c *cli) *cobra.Command {
	var out, root, config string
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Gather what helps to find a fault, without secrets",
		Long: `Gather what helps to find a fault into one compressed archive: what the server says of itself
(version, pools, jobs, exports, migrations, metrics), what elstore doctor finds, the server's log as
far as systemd has it, its configuration, and what this machine is. Run it on the server's machine.

No volume's content is in it, and no secret: passwords, tokens and the secrets of exports are taken
out wherever they stand. Names and ids of volumes, clients and machines are in it. What could not be
had is said in the archive, and is no failure.`,
		Example: `  elstore support-bundle
  elstore support-bundle --output /tmp/fault.tar.gz --root ./mnt`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			if out == "" {
				out = "elstore-" + now.Format("20060102-150405") + ".tar.gz"
			}
			file, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator names it
			if err != nil {
				return err
			}
			err = errors.Join(bundle(cmd.Context(), file, supportParts(cl, root, config), now), file.Close())
			if err != nil {
				return errors.Join(err, os.Remove(out))
			}
			return printf(cmd, "Wrote %s. Look at it before you give it away: it names your volumes and machines.\n", printable(out))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "", "file to write (default elstore-<time>.tar.gz, here)")
	f.StringVar(&root, "root", "/mnt", "directory that the server looks for pools in")
	f.StringVar(&config, "config", "/etc/elstore/elstore.yaml", "the server's configuration")
	return cmd
}

// part is one file of a bundle and how its content is had.
type part struct {
	name string
	get  func(ctx context.Context) ([]byte, error)
}

func supportParts(cl *client.Client, root, config string) []part {
	parts := []part{
		{"client-version.txt", func(context.Context) ([]byte, error) { return []byte(version + "\n"), nil }},
		{"server/version.json", asked(cl.Version)},
		{"server/pools.json", asked(cl.Pools)},
		{"server/jobs.json", asked(func(ctx context.Context) (any, error) { return cl.Jobs(ctx, client.JobFilter{}) })},
		{"server/exports.json", asked(func(ctx context.Context) (any, error) { return cl.Exports(ctx, "", "") })},
		{"server/orphans.json", asked(cl.Orphans)},
		{"server/migrations.json", asked(func(ctx context.Context) (any, error) { return cl.Migrations(ctx, "") })},
		{"server/metrics.txt", cl.Metrics},
		{"doctor.json", asked(func(ctx context.Context) (any, error) {
			return diagnose(ctx, root, filepath.Join(root, ".elstore"), false)
		})},
		{"elstore.yaml", func(ctx context.Context) ([]byte, error) {
			text, err := reading(config)(ctx)
			return withoutYAMLSecrets(text), err
		}},
	}
	for _, file := range []string{"/etc/os-release", "/proc/version", "/proc/cpuinfo", "/proc/meminfo", "/proc/mounts", "/proc/loadavg", "/proc/pressure/io"} {
		parts = append(parts, part{"machine/" + path.Base(path.Dir(file)) + "-" + path.Base(file) + ".txt", reading(file)})
	}
	for name, command := range map[string][]string{
		"log.jsonl":     {"journalctl", "--unit", "elstore", "--output", "cat", "--no-pager", "--lines", "20000"},
		"unit.txt":      {"systemctl", "--no-pager", "--full", "show", "elstore.service"},
		"qemu.txt":      {"qemu-img", "--version"},
		"df.txt":        {"df", "--output", "--block-size=1"},
		"processes.txt": {"ps", "-eo", "pid,ppid,user,rss,stat,etime,comm"},
	} {
		parts = append(parts, part{"machine/" + name, outputOf(command)})
	}
	return parts
}

// asked gets what get returns, as JSON.
func asked[T any](get func(context.Context) (T, error)) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		v, err := get(ctx)
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(v, "", "  ")
	}
}

func reading(file string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(file) //nolint:gosec // one of a list, or the operator's
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxPart))
	}
}

func outputOf(command []string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output() //nolint:gosec // one of a list
		if len(out) > maxPart {
			out = out[len(out)-maxPart:]
		}
		return out, err
	}
}

// bundle writes parts into an archive, and last what could not be had.
func bundle(ctx context.Context, to io.Writer, parts []part, now time.Time) error {
	zip := gzip.NewWriter(to)
	archive := tar.NewWriter(zip)
	put := func(name string, data []byte) error {
		data = withoutSecrets(data)
		err := archive.WriteHeader(&tar.Header{Name: "elstore-support/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: now})
		if err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	}
	var missing bytes.Buffer
	for _, p := range parts {
		data, err := func() ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, partTime)
			defer cancel()
			return p.get(ctx)
		}()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(&missing, "%s: %s\n", p.name, strings.TrimSpace(err.Error()))
		}
		if len(data) == 0 {
			continue
		}
		if err := put(p.name, data); err != nil {
			return err
		}
	}
	return errors.Join(put("missing.txt", missing.Bytes()), archive.Close(), zip.Close())
}

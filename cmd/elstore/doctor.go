package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"elstore/export"
	"elstore/pool"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/qemu"
)

// errProblems makes doctor's exit code say that somebody has to do something.
var errProblems = errors.New("there are problems that somebody has to see to")

// diagnosis is what doctor says of one pool.
type diagnosis struct {
	Pool     string         `json:"pool"` // its directory
	Volumes  int            `json:"volumes"`
	Bytes    int64          `json:"bytes"` // virtual, with those of base images
	Findings []file.Finding `json:"findings"`
}

func newDoctorCommand(c *cli) *cobra.Command {
	var root string
	var images bool
	var state string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the pools on this machine, changing nothing",
		Long: `Check the pools below --root on this machine, whether a server runs or not, and change nothing.

It finds what crashes left behind (stale locks, half-made volumes), volumes that can't be used,
sizes that disagree, limits that are exceeded, files that nobody needs, and exports whose records
and markers disagree, and says what to do. Of a pool on Ceph it finds volumes whose image is gone, and
images whose volume is.
What it calls a warning, the next start of the server puts in order. With --images it lets
qemu-img check every qcow2 image that is not in use.

The exit code is 1 where something needs a person.`,
		Example: `  elstore doctor
  elstore doctor --root ./mnt --images
  elstore doctor --json | jq '.[].findings[]'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("root") {
				if env, ok := os.LookupEnv("ELSTORE_ROOT"); ok {
					root = env
				}
			}
			if state == "" {
				state = filepath.Join(root, ".elstore")
			}
			list, err := diagnose(cmd.Context(), root, state, images)
			if err != nil {
				return err
			}
			if c.json {
				err = printJSON(cmd, list)
			} else {
				err = printDiagnoses(cmd, root, list)
			}
			for _, d := range list {
				for _, f := range d.Findings {
					if f.Severity == file.Problem && err == nil {
						err = errProblems
					}
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "/mnt", "directory to look for pools in (or $ELSTORE_ROOT)")
	cmd.Flags().StringVar(&state, "state", "", "the server's state directory, by which its own exports are known (default <root>/.elstore)")
	cmd.Flags().BoolVar(&images, "images", false, "let qemu-img check the qcow2 images, which reads all of their tables")
	return cmd
}

// diagnose looks at all pools.
func diagnose(ctx context.Context, root, state string, images bool) ([]diagnosis, error) {
	pools, notPools, err := pool.Survey(root)
	if err != nil {
		return nil, err
	}
	tool, err := qemu.New(qemu.Config{})
	if err != nil {
		return nil, err
	}
	server := serverOf(state)
	list := []diagnosis{}
	for _, p := range pools {
		d := diagnosis{Pool: p.Path, Findings: []file.Finding{}}
		if p.Problem != nil {
			d.add(file.Problem, pool.SettingsFile, p.Problem.Error(), "mend it; the server sees the change at once")
		}
		r, err := file.Examine(p.Path)
		if err != nil {
			d.add(file.Problem, ".", err.Error(), "")
		}
		d.Volumes, d.Bytes = r.Volumes, r.Bytes+r.Base
		d.Findings = append(d.Findings, r.Findings...)
		d.checkExports(p.Path, server)
		if over := p.Settings.Limits.Over(d.Volumes, d.Bytes); over != "" && p.Problem == nil {
			d.add(file.Note, pool.SettingsFile, over, "no volumes are made here until some are gone")
		}
		if p.Settings.Ceph != nil && p.Problem == nil {
			d.checkCluster(ctx, p.Settings.Ceph, p.Path)
		}
		if images {
			d.checkImages(ctx, tool, p.Path, r.QCOW2)
		}
		slices.SortStableFunc(d.Findings, func(a, b file.Finding) int { return cmp.Compare(rank(b.Severity), rank(a.Severity)) })
		list = append(list, d)
	}
	for _, n := range notPools {
		d := diagnosis{Pool: n.Path}
		d.add(file.Note, ".", "this is no pool: "+n.Reason, "")
		list = append(list, d)
	}
	return list, nil
}

func rank(s file.Severity) int {
	return slices.Index([]file.Severity{file.Note, file.Warning, file.Problem}, s)
}

func (d *diagnosis) add(s file.Severity, path, what, cure string) {
	d.Findings = append(d.Findings, file.Finding{Severity: s, Path: path, What: what, Cure: cure})
}

// serverOf is the id of the server whose state lies in a directory, "" where that can't be told.
func serverOf(state string) string {
	data, err := os.ReadFile(filepath.Join(state, idFile)) //nolint:gosec // the operator names it
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// checkExports looks at the exports of the volumes that stand in a pool.
func (d *diagnosis) checkExports(dir, server string) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return // which is said of the pool already
	}
	for _, f := range found {
		name, isVolume := strings.CutPrefix(f.Name(), "vid.")
		id, err := volume.ParseID(strings.TrimSuffix(name, ".elimg"))
		if err != nil || !isVolume || !f.IsDir() {
			continue // somebody else's
		}
		root, err := os.OpenRoot(filepath.Join(dir, f.Name()))
		if err != nil {
			continue // which is said of the volume already, or it went meanwhile
		}
		for _, t := range export.Examine(root, id, server, time.Now()) {
			d.add(file.Severity(t.Severity), filepath.Join(f.Name(), t.Path), t.What, t.Cure)
		}
		_ = root.Close()
	}
}

// checkImages runs qemu-img check on images. Those that somebody opens meanwhile are left out.
func (d *diagnosis) checkImages(ctx context.Context, tool *qemu.Tool, dir string, images []string) {
	for _, image := range images {
		r, err := tool.Check(ctx, file.Image(filepath.Join(dir, image)), false)
		switch {
		case err != nil:
			d.add(file.Problem, image, "qemu-img can't check it: "+err.Error(), "")
		case !r.OK():
			d.add(file.Problem, image, fmt.Sprintf("the image is damaged: %d corruptions, %d errors", r.Corruptions, r.Errors), "restore it from a backup, or try qemu-img check -r all on a copy")
		case r.Leaks > 0:
			d.add(file.Note, image, fmt.Sprintf("%d clusters are leaked: room that is lost, no data", r.Leaks), "qemu-img check -r leaks frees them while nobody uses the volume")
		}
	}
}

func printDiagnoses(cmd *cobra.Command, root string, list []diagnosis) error {
	if len(list) == 0 {
		return printf(cmd, "There are no pools below %s: a pool is a directory with a %s. Another place is named with --root.\n", printable(root), pool.SettingsFile)
	}
	for _, d := range list {
		if err := printf(cmd, "%s: %d volumes, %s\n", printable(d.Pool), d.Volumes, humanSize(d.Bytes)); err != nil {
			return err
		}
		for _, f := range d.Findings {
			if err := printf(cmd, "  %-8s %s: %s\n", f.Severity, printable(f.Path), printable(f.What)); err != nil {
				return err
			}
			if f.Cure != "" {
				if err := printf(cmd, "  %-8s   %s\n", "", printable(f.Cure)); err != nil {
					return err
				}
			}
		}
		if len(d.Findings) == 0 {
			if err := printf(cmd, "  all is well\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

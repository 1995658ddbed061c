// Command bench measures elstore and, where there is one, a peer beside it in the same run, and prints a table:
// what, ours, the peer, the ratio. `make bench` runs it with the binary that it has just built.
//
//	go run ./test/bench [-bin bin/elstore] [-only scale,libvirt,iscsi,seed,image,export,access,ceph] [-ceph-bin bin/elstore-ceph] [-volumes 100000]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is a line of the table.
type row struct {
	what, ours, peer, ratio, goal string
	missed                        bool
}

type bench struct {
	name string
	run  func(ctx context.Context, env environment) ([]row, error)
}

// environment is what the measurements share.
type environment struct {
	bin     string // the server's binary
	cephBin string // one that was built with Ceph
	dir     string // an empty directory of the run's own
	volumes int
}

var benches = []bench{{"scale", scale}, {"libvirt", libvirt}, {"iscsi", portals}, {"seed", seeds}, {"image", images}, {"export", exports}, {"access", accessCost}, {"ceph", onCeph}}

func main() {
	if len(os.Args) > 1 && os.Args[1] == portalCommand {
		if err := portal(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench portal:", err)
			os.Exit(1)
		}
		return
	}
	bin := flag.String("bin", "bin/elstore", "the server's binary")
	cephBin := flag.String("ceph-bin", "bin/elstore-ceph", "a server's binary that was built with Ceph")
	only := flag.String("only", "", "names of measurements, separated by commas; all if empty")
	volumes := flag.Int("volumes", 100_000, "volumes of the scale measurement")
	dir := flag.String("dir", "", "directory to work in; a temporary one if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *bin, *cephBin, *only, *dir, *volumes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, cephBin, only, dir string, volumes int) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	if cephBin, err = filepath.Abs(cephBin); err != nil {
		return err
	}
	var rows []row
	var errs []error
	for _, b := range benches {
		if only != "" && !slices.Contains(strings.Split(only, ","), b.name) {
			continue
		}
		work, err := os.MkdirTemp(dir, "elstore-bench-")
		if err != nil {
			return err
		}
		got, err := b.run(ctx, environment{bin: bin, cephBin: cephBin, dir: work, volumes: volumes})
		rows = append(rows, got...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		}
		errs = append(errs, os.RemoveAll(work))
	}
	print(rows)
	return errors.Join(errs...)
}

func print(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tPEER\tRATIO\tGOAL\t")
	for _, r := range rows {
		mark := ""
		if r.missed {
			mark = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.ours, orDash(r.peer), orDash(r.ratio), orDash(r.goal), mark)
	}
	_ = w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Command lab runs a Ceph cluster on this machine for people who try things: lab up DIR, lab down DIR.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"elstore/test/ceph"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: lab up|down DIR")
		os.Exit(2)
	}
	if err := do(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func do(what, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	const size = 16 << 30
	c := ceph.New(dir, size)
	switch what {
	case "up":
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := c.Up(ctx); err != nil {
			return err
		}
		fmt.Printf("A Ceph cluster runs, with its data in memory: %s\nA pool on it has this settings.json:\n%s", c.Conf(), c.Settings())
		return nil
	case "down":
		return c.Down()
	}
	return fmt.Errorf("%q is neither up nor down", what)
}

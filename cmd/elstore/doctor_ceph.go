package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"elstore/pool"
	"elstore/volume/file"
	"elstore/volume/rbd"
)

// checkCluster looks at the cluster of a pool that has one.
func (d *diagnosis) checkCluster(ctx context.Context, c *pool.Ceph, dir string) {
	store, err := rbd.Open(ctx, rbd.Config{Pool: c.Pool, Conf: c.Conf, User: c.User, Keyring: c.Keyring})
	if err != nil {
		d.add(file.Problem, pool.SettingsFile, "its Ceph cluster can't be looked at: "+err.Error(), "")
		return
	}
	defer store.Close()              //nolint:errcheck // nothing was changed
	images, err := store.Inventory() //nolint:contextcheck // it has an end of its own
	if err != nil {
		d.add(file.Problem, pool.SettingsFile, err.Error(), "")
		return
	}
	d.compare(dir, images, store)
}

// cluster is what compare asks a cluster.
type cluster interface {
	Parse(ref []byte) (image string, err error)
	Size(image string) (int64, error)
}

// compare holds the volumes of a pool's directory against the images on its cluster, and of each whether it lies in the trash there.
func (d *diagnosis) compare(dir string, images map[string]bool, c cluster) {
	known := map[string]string{}
	for _, in := range []string{".", "elemento-bin"} {
		places, err := filepath.Glob(filepath.Join(dir, in, "vid.*.elimg"))
		if err != nil {
			d.add(file.Problem, in, err.Error(), "")
		}
		for _, place := range places {
			where := filepath.Join(in, filepath.Base(place))
			data, err := os.ReadFile(filepath.Join(place, "data.rbd")) //nolint:gosec // in the pool
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			image := ""
			if err == nil {
				image, err = c.Parse(data)
			}
			trashed, there := images[image]
			switch {
			case err != nil:
				d.add(file.Problem, where, err.Error(), "mend data.rbd, or destroy the volume with purge")
			case known[image] != "":
				d.add(file.Problem, where, "its image "+image+" is that of "+known[image]+" too", "one of the two directories is a copy: remove its data.rbd, then destroy it with purge")
			case !there:
				d.add(file.Problem, where, "its image "+image+" is not on the Ceph cluster", "bring the image back, name another in data.rbd, or destroy the volume with purge")
			case trashed && in == ".":
				d.add(file.Note, where, "its image "+image+" lies in the Ceph cluster's trash", "whoever opens the volume next brings it back")
			}
			known[image] = where
		}
	}
	for _, image := range slices.Sorted(maps.Keys(images)) {
		id, ours := rbd.VolumeOf(image)
		if !ours || known[image] != "" {
			continue
		}
		size, err := c.Size(image)
		if err != nil {
			continue // it went meanwhile
		}
		place := "vid." + id.String() + ".elimg"
		d.add(file.Problem, place, fmt.Sprintf("the image %s of %d bytes is on the Ceph cluster, and no volume of this pool names it", image, size),
			fmt.Sprintf(`another server's it may be. If not, remove it (rbd rm or rbd trash rm), or adopt it: make %s with a data.rbd that says {"cluster": …, "pool": …, "image": %q} as others do, and a meta.json of {"creatorID": …, "name": …, "format": "rbd", "size": %d}`,
				place, image, size))
	}
}

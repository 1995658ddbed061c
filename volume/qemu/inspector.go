package qemu

import (
	"context"
	"os"

	"elstore/volume"
	"elstore/volume/fault"
)

// Inspector looks at images from outside for a volume.Service. Its zero value is not usable.
type Inspector struct {
	Tool *Tool // measures what a copy takes
}

var _ volume.Inspector = Inspector{}

// Inspect implements volume.Inspector.
func (i Inspector) Inspect(ctx context.Context, f *os.File, format string) (volume.Image, error) {
	said := Format("")
	if format != "" {
		var err error
		if said, err = ParseFormat(format); err != nil {
			return volume.Image{}, err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return volume.Image{}, fault.FromOS("inspect the image", err)
	}
	found, err := Inspect(f, info.Size(), InspectOptions{Format: said, MaxSize: volume.MaxSize})
	if err != nil {
		return volume.Image{}, err
	}
	img := volume.Image{Path: f.Name(), Format: string(found.Format), Size: found.VirtualSize, OnDisk: info.Size()}
	if found.Format == Raw {
		return img, nil
	}
	// The length of a file that is compressed or sparse in its own way tells little about the room that a copy takes.
	m, err := i.Tool.Measure(ctx, Image{Path: f.Name(), Format: found.Format}, QCOW2, f)
	if err != nil {
		return volume.Image{}, err
	}
	img.OnDisk = m.Required
	return img, nil
}

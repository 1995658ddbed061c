package qemu

import (
	"context"
	"os"
	"strconv"
)

// ResizeOptions says how Resize does it.
type ResizeOptions struct {
	Size          int64         // the new virtual size in bytes, a positive multiple of 512
	Shrink        bool          // allow a smaller size: what lies past it is lost
	Preallocation Preallocation // of what is added; not when the image gets smaller
}

// Resize changes an image's virtual size. The image must not be open elsewhere. When it returns nil the image is on
// stable storage; on an error it may have either size, and is whole. A smaller size without Shrink is a fault of
// code VolumeDimensionNotShrinkable.
func (t *Tool) Resize(ctx context.Context, img Image, o ResizeOptions, inherit ...*os.File) error {
	if err := img.checkFile(); err != nil {
		return err
	}
	if err := checkSize(o.Size); err != nil {
		return err
	}
	if err := o.Preallocation.check(img.Format); err != nil {
		return err
	}
	args := []string{"-q", "-f", string(img.Format)}
	if o.Shrink {
		args = append(args, "--shrink")
	}
	if o.Preallocation.on() {
		args = append(args, "--preallocation="+string(o.Preallocation))
	}
	_, err := t.run(ctx, command{
		name: "resize", args: append(args, "--", img.Path, strconv.FormatInt(o.Size, 10)),
		limits: limits{addressSpace: addressSpace(1)},
		stalls: true, target: img.Path, images: []Image{img}, inherit: inherit,
	})
	if err != nil {
		return err
	}
	return syncFile(img.Path)
}

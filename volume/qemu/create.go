package qemu

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"elstore/volume/fault"
)

// CreateOptions says what Create makes.
type CreateOptions struct {
	Image         Image
	Size          int64 // virtual size in bytes, a positive multiple of 512
	Preallocation Preallocation

	// Backing makes a qcow2 overlay of the image of that name, relative to the directory of the new image.
	// It is not opened, nor need it be there yet, and Size may differ from its size.
	Backing       string
	BackingFormat Format // of Backing, always recorded
}

// Create makes a new image. It fails if there is a file of that name. When it returns nil the image is on stable
// storage, but for its name, which is so when the caller synced its directory; on an error nothing is left.
func (t *Tool) Create(ctx context.Context, o CreateOptions, inherit ...*os.File) error {
	args, err := o.args()
	if err != nil {
		return err
	}
	if err := t.Available(); err != nil {
		return err
	}
	to, err := newTarget(o.Image.Path, t.config.Mode)
	if err != nil {
		return err
	}
	_, err = t.run(ctx, command{
		name: "create", args: args, limits: limits{addressSpace: addressSpace(1)},
		stalls: true, target: o.Image.Path, images: []Image{o.Image}, inherit: inherit,
	})
	return to.finish(err)
}

// args checks the options and returns the arguments.
func (o CreateOptions) args() ([]string, error) {
	if err := o.Image.checkFile(); err != nil {
		return nil, err
	}
	if err := checkSize(o.Size); err != nil {
		return nil, err
	}
	if err := o.Preallocation.check(o.Image.Format); err != nil {
		return nil, err
	}
	args := []string{"-q", "-f", string(o.Image.Format)}
	if o.Preallocation.on() {
		args = append(args, "-o", "preallocation="+string(o.Preallocation))
	}
	if o.Backing != "" {
		if err := o.checkBacking(); err != nil {
			return nil, err
		}
		args = append(args, "-u", "-b", o.Backing, "-F", string(o.BackingFormat))
	}
	return append(args, "--", o.Image.Path, strconv.FormatInt(o.Size, 10)), nil
}

// maxBacking is the length in bytes that qcow2 gives a backing file's name at most.
const maxBacking = 1023

// checkBacking refuses a name that QEMU would not take for that of a file in a fixed place beside the image.
func (o CreateOptions) checkBacking() error {
	switch {
	case o.Image.Format != QCOW2:
		return fault.Errorf(fault.BadRequest, "a %s image can't be an overlay: only qcow2 can", o.Image.Format)
	case !o.BackingFormat.valid():
		return fault.Errorf(fault.BadRequest, "the format %.20q of the base image is not known", string(o.BackingFormat))
	case filepath.IsAbs(o.Backing), len(o.Backing) > maxBacking, strings.ContainsAny(o.Backing, ":\x00"), strings.HasPrefix(o.Backing, "-"):
		return fault.Errorf(fault.BadRequest, "the name %.40q of the base image must be relative, at most %d bytes long, and without colons", o.Backing, maxBacking)
	}
	return nil
}

// checkSize refuses a virtual size that images can't have.
func checkSize(size int64) error {
	if size <= 0 || size%512 != 0 {
		return fault.Errorf(fault.BadRequest, "an image can't be %d bytes large: its size is a positive multiple of 512", size)
	}
	return nil
}

package qemu

import (
	"bytes"
	"context"
	"os"
)

// compareDiffers is the exit code of qemu-img compare where the images differ.
const compareDiffers = 1

// Compare reports whether machines see the same in two images: the same size and the same bytes. Neither may be
// open for writing elsewhere; QEMU's lock does not notice that of raw images.
func (t *Tool) Compare(ctx context.Context, a, b Image, inherit ...*os.File) (same bool, err error) {
	for _, i := range []Image{a, b} {
		if err := i.check(); err != nil {
			return false, err
		}
	}
	r, err := t.run(ctx, command{
		name: "compare", args: []string{"-f", string(a.Format), "-F", string(b.Format), "--", a.Path, b.Path},
		limits: limits{addressSpace: addressSpace(1)},
		stalls: true, images: []Image{a, b}, inherit: inherit, answers: []int{compareDiffers},
	})
	if err != nil {
		return false, err
	}
	// Without -s a longer image is the same if it ends in zeros, and with -s holes count: neither is asked here.
	return r.code == 0 && !bytes.Contains(r.output, []byte("Image size mismatch")), nil
}

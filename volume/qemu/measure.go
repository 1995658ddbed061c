package qemu

import (
	"context"
	"os"

	"elstore/volume/fault"
)

// Measurement is what a copy of an image takes, in bytes of its file.
type Measurement struct {
	Required       int64 // with holes where the image has none of its own data
	FullyAllocated int64 // when every byte was written once
}

// Measure returns what a copy of src in the format to takes, raw or qcow2. src must not be open for writing
// elsewhere.
func (t *Tool) Measure(ctx context.Context, src Image, to Format, inherit ...*os.File) (Measurement, error) {
	if err := src.check(); err != nil {
		return Measurement{}, err
	}
	if to != Raw && to != QCOW2 {
		return Measurement{}, fault.Errorf(fault.UnsupportedFormat, "a copy in the format %.20q can't be measured: only raw and qcow2 can", string(to))
	}
	r, err := t.run(ctx, command{
		name: "measure", args: []string{"--output=json", "-O", string(to), "-f", string(src.Format), src.Path},
		limits: limits{addressSpace: addressSpace(1), cpu: t.cpu}, images: []Image{src}, inherit: inherit,
	})
	if err != nil {
		return Measurement{}, err
	}
	return parseMeasure(r.output)
}

// parseMeasure reads the answer of qemu-img measure --output=json.
func parseMeasure(output []byte) (Measurement, error) {
	var a struct {
		Required       *int64 `json:"required"`
		FullyAllocated *int64 `json:"fully-allocated"`
	}
	if err := answer("measure", output, &a); err != nil {
		return Measurement{}, err
	}
	if a.Required == nil || a.FullyAllocated == nil || *a.Required < 0 || *a.FullyAllocated < 0 {
		return Measurement{}, fault.Errorf(fault.ImageToolFailed, "the answer of qemu-img measure does not say how much room it needs")
	}
	return Measurement{Required: *a.Required, FullyAllocated: *a.FullyAllocated}, nil
}

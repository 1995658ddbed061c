package qemu

import (
	"context"
	"encoding/json"
	"os"

	"elstore/volume/fault"
)

// Info is what qemu-img says about an image.
type Info struct {
	Format        Format
	VirtualSize   int64  // bytes
	ActualSize    int64  // bytes of storage that the file takes
	ClusterSize   int64  // bytes; 0 where the format has none
	BackingFile   string // as the image names it, or ""
	BackingFormat Format // as the image names it, or ""
	DataFile      string // the external file with its data, or ""
	Encrypted     bool
	Dirty         bool // it was not closed
	Corrupt       bool // it was found to be corrupt
	Snapshots     int  // inside the image
}

// Info reads an image's header with qemu-img. It opens neither backing file nor data, but does open an external
// data file: an image from outside must have passed Inspect. It does not look at images that are open for writing
// elsewhere (qemu-img's -U), for what it read then might be half changed: VolumeInUse.
func (t *Tool) Info(ctx context.Context, img Image, inherit ...*os.File) (Info, error) {
	if err := img.check(); err != nil {
		return Info{}, err
	}
	r, err := t.run(ctx, command{
		name: "info", args: []string{"--output=json", "-f", string(img.Format), "--", img.Path},
		limits: limits{addressSpace: addressSpace(0), cpu: t.cpu}, images: []Image{img}, inherit: inherit,
	})
	if err != nil {
		return Info{}, err
	}
	return parseInfo(r.output)
}

// parseInfo reads the answer of qemu-img info --output=json.
func parseInfo(output []byte) (Info, error) {
	var a struct {
		Format        Format            `json:"format"`
		VirtualSize   int64             `json:"virtual-size"`
		ActualSize    int64             `json:"actual-size"`
		ClusterSize   int64             `json:"cluster-size"`
		BackingFile   string            `json:"backing-filename"`
		BackingFormat Format            `json:"backing-filename-format"`
		Encrypted     bool              `json:"encrypted"`
		Dirty         bool              `json:"dirty-flag"`
		Snapshots     []json.RawMessage `json:"snapshots"`
		Specific      struct {
			Data struct {
				Corrupt  bool   `json:"corrupt"`
				DataFile string `json:"data-file"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := answer("info", output, &a); err != nil {
		return Info{}, err
	}
	return Info{
		Format: a.Format, VirtualSize: a.VirtualSize, ActualSize: a.ActualSize, ClusterSize: a.ClusterSize,
		BackingFile: a.BackingFile, BackingFormat: a.BackingFormat, DataFile: a.Specific.Data.DataFile,
		Encrypted: a.Encrypted, Dirty: a.Dirty, Corrupt: a.Specific.Data.Corrupt, Snapshots: len(a.Snapshots),
	}, nil
}

// answer decodes the JSON that qemu-img printed.
func answer(name string, output []byte, into any) error {
	if err := json.Unmarshal(output, into); err != nil {
		return fault.Errorf(fault.ImageToolFailed, "the answer of qemu-img %s can't be read: %w", name, err)
	}
	return nil
}

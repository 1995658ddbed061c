package qemu

import (
	"os"
	"strings"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestInspector(t *testing.T) {
	inspector := Inspector{Tool: realTool(t)}
	data := pattern(4 << 20)
	packed := filled(t, QCOW2, make([]byte, 4<<20))
	for name, tc := range map[string]struct {
		path, said string
		want       volume.Image // Path and OnDisk aside
		code       fault.Code   // of the error, or ""
	}{
		"raw":               {filled(t, Raw, data), "raw", volume.Image{Format: "raw", Size: 4 << 20}, ""},
		"qcow2":             {packed, "", volume.Image{Format: "qcow2", Size: 4 << 20}, ""},
		"vhd by its name":   {filled(t, VPC, data, "-o", "force_size=on"), "vhd", volume.Image{Format: "vpc", Size: 4 << 20}, ""},
		"said wrongly":      {packed, "raw", volume.Image{}, fault.ImageRefused},
		"an unknown format": {packed, "qcow", volume.Image{}, fault.UnsupportedFormat},
		"over the largest":  {image(t, QCOW2, 1<<55, "-o", "cluster_size=2M"), "qcow2", volume.Image{}, fault.ImageRefused},
		"a backing file":    {image(t, QCOW2, 1<<20, "-u", "-b", "/etc/passwd", "-F", "raw"), "", volume.Image{}, fault.ImageRefused},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(tc.path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := inspector.Inspect(t.Context(), f, tc.said)
			if tc.code != "" {
				wantCode(t, err, tc.code)
				return
			}
			if err != nil || got.Path != tc.path || got.Format != tc.want.Format || got.Size != tc.want.Size || got.OnDisk <= 0 {
				t.Fatalf("it is %+v, %v", got, err)
			}
		})
	}
	t.Run("room is measured", func(t *testing.T) {
		f, err := os.Open(filled(t, QCOW2, []byte(strings.Repeat("data", 1<<20)), "-c"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := inspector.Inspect(t.Context(), f, "qcow2"); err != nil || got.OnDisk < 4<<20 {
			t.Fatalf("a compressed image of 4 MiB takes %+v, %v", got, err)
		}
	})
}

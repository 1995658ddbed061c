package volume_test

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// What has arrived was written, and is moved into its place: it needs its room once.
func TestWhatArrivesNeedsItsRoomOnce(t *testing.T) {
	const room, image = 40 * mib, 24 * mib
	place := func(t *testing.T) *place {
		p := &place{t: t, root: need.FS(t, "ext4")}
		var st syscall.Statfs_t
		if err := syscall.Statfs(p.root, &st); err != nil {
			t.Fatal(err)
		}
		free := int64(st.Bavail) * st.Bsize
		p.pool = rig.Pool(t, p.root, "pool", fmt.Sprintf(`{"reserve": %d, "max-volumes": 1}`, free-room))
		p.Parts = rig.Assemble(t, p.root, nil)
		return p
	}
	data := noise(image)
	t.Run("import", func(t *testing.T) {
		p := place(t)
		source := func(n int) volume.Source {
			return volume.Source{Body: bytes.NewReader(data[:n]), Length: int64(n), Format: "raw"}
		}
		v, err := p.Volumes.Import(t.Context(), wish("v", 0), source(image), nil)
		if err != nil || v.Meta.Size != image {
			t.Fatalf("%+v, %v", v.Meta, err)
		}
		if info := p.Pools.Infos()[0]; info.Used.Volumes != 1 || info.Used.Bytes != image || info.Reserved.Volumes != 0 || info.Reserved.Bytes != 0 {
			t.Errorf("used %+v, reserved %+v", info.Used, info.Reserved)
		}
		_, err = p.Volumes.Import(t.Context(), wish("one too many", 0), source(mib), nil)
		want(t, err, fault.VolumeNotAllocable)
	})
	for name, size := range map[string]int64{"upload": image, "upload into a larger volume": 2 * image} {
		t.Run(name, func(t *testing.T) {
			p := place(t)
			v := p.create("v", size)
			p.fill(v.ID, data)
			if !bytes.Equal(p.content(v.ID), append(data[:image:image], make([]byte, size-image)...)) {
				t.Error("other content")
			}
			part := volume.Part{Length: image, Total: image, Body: bytes.NewReader(data)}
			_, _, err := p.Volumes.Upload(t.Context(), v.ID, nil, part, nil) // beside the 24 MiB that are there
			want(t, err, fault.VolumeNotAllocable)
		})
	}
}

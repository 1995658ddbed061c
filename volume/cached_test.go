package volume_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// The second volume of an image that is a base of the pool already needs no image: its source isn't read.
func TestImportOfABaseThatIsThere(t *testing.T) {
	need.Program(t, "qemu-img")
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	p := rig.Assemble(t, root, func(c *volume.Config) { c.ImportDirs = []string{root} })
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	image := filepath.Join(root, "image.img")
	if err := os.WriteFile(image, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, sum512 := sha256.Sum256(data), sha512.Sum512(data)
	by256, by512 := &volume.Checksum{Algorithm: "sha256", Sum: sum[:]}, &volume.Checksum{Algorithm: "sha512", Sum: sum512[:]}
	make := func(overlay bool, f volume.Format, by *volume.Checksum) volume.Volume {
		t.Helper()
		src := volume.Source{Path: image, Cached: true, Overlay: overlay, Checksum: by}
		v, err := p.Volumes.Import(t.Context(), volume.NewVolume{Meta: volume.Meta{
			Creator: volume.Client(volume.NewID()), Name: "x", Format: f, Alg: volume.Copy, Bus: volume.Virtio, Size: 2 << 20,
		}}, src, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := make(true, volume.QCOW2, by512)
	// With other bytes in the source's file its checksum would be wrong, if it were read.
	if err := os.WriteFile(image, data[:512], 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := sha512.Sum512([]byte("another"))
	_, err := p.Volumes.Import(t.Context(), volume.NewVolume{Meta: first.Meta}, volume.Source{
		Path: image, Cached: true, Overlay: true, Checksum: &volume.Checksum{Algorithm: "sha512", Sum: wrong[:]},
	}, nil)
	if !fault.Is(err, fault.ChecksumMismatch) {
		t.Errorf("an image with another checksum: %v", err)
	}
	for _, v := range []volume.Volume{
		first, make(true, volume.QCOW2, by512), make(true, volume.QCOW2, by256), make(false, volume.QCOW2, by256), make(false, volume.Raw, by512),
	} {
		d, err := p.Volumes.Download(t.Context(), v.ID, nil, volume.Raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(d.File)
		if err != nil || len(got) != 2<<20 || sha256.Sum256(got[:1<<20]) != sum {
			t.Errorf("%s volume with base %q has %d bytes, %v", v.Meta.Format, v.Meta.Base, len(got), err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if bases, _ := filepath.Glob(pool + "/elemento-base/*"); len(bases) != 1 {
		t.Errorf("bases %q", bases)
	}
	if use := p.Pools.Infos()[0]; use.Used.Bytes != 5*(2<<20)+1<<20 {
		t.Errorf("the pool counts %+v", use)
	}
}

// What a base was made of is known after a restart.
func TestBaseIsKnownByItsSourceAfterARestart(t *testing.T) {
	need.Program(t, "qemu-img")
	root := need.FS(t, "ext4")
	pool := rig.Pool(t, root, "pool", `{}`)
	image := filepath.Join(root, "image.img")
	data := bytes.Repeat([]byte("image"), 1<<16)
	sum := sha512.Sum512(data)
	for _, content := range [][]byte{data, []byte("it is not read again")} {
		t.Run(fmt.Sprint(len(content), " bytes"), func(t *testing.T) {
			if err := os.WriteFile(image, content, 0o600); err != nil {
				t.Fatal(err)
			}
			p := rig.Assemble(t, root, func(c *volume.Config) { c.ImportDirs = []string{root} })
			_, err := p.Volumes.Import(t.Context(), volume.NewVolume{Meta: volume.Meta{
				Creator: volume.Client(volume.NewID()), Name: "x", Format: volume.QCOW2, Alg: volume.Copy, Bus: volume.Virtio,
			}}, volume.Source{Path: image, Cached: true, Overlay: true, Checksum: &volume.Checksum{Algorithm: "sha512", Sum: sum[:]}}, nil)
			if err != nil {
				t.Error(err)
			}
		})
	}
	if bases, _ := filepath.Glob(pool + "/elemento-base/*"); len(bases) != 1 {
		t.Errorf("bases %q", bases)
	}
}

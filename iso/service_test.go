package iso_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

// owner owns the volumes of the tests.
var owner = volume.Client(volume.NewID())

// parts is a server's inside with one pool.
func parts(t *testing.T) (*rig.Parts, *iso.Service, string) {
	t.Helper()
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{"max-total-size": "1G"}`)
	p := rig.Assemble(t, root, func(c *volume.Config) { c.ImportDirs = []string{root} })
	return p, iso.NewService(p.Volumes), pool
}

var debian = map[string][]byte{".disk/info": []byte("Debian GNU/Linux 12.9.0 \"Bookworm\"\n"), "install/vmlinuz": bytes.Repeat([]byte("k"), 9000)}

func wish(kind iso.Type) iso.New {
	return iso.New{Creator: owner, Name: "image", Clonable: true, Alg: volume.Copy, Info: iso.Info{Type: kind}}
}

func TestImportReadClone(t *testing.T) {
	p, s, pool := parts(t)
	image := build(t, iso.Config{Label: "D", Files: debian})
	v, info, err := s.Import(t.Context(), wish(iso.OSGeneric), volume.Source{Body: bytes.NewReader(image), Length: -1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := v.Meta
	if !m.ReadOnly || !m.Bootable || m.Format != volume.ISO || m.Bus != volume.SATA || m.Size != int64(len(image)) || v.ISOType != "os_generic" {
		t.Errorf("%+v", v)
	}
	if *info.OSFamily != "linux" || *info.OSFlavour != "debian" || *info.OSVersion != "12.9.0" {
		t.Errorf("%s", info.Encode())
	}
	on, err := os.ReadFile(filepath.Join(pool, "vid."+v.ID.String()+".elimg", "isoinfo.json"))
	if err != nil || !bytes.Equal(on, info.Encode()) {
		t.Errorf("isoinfo.json is %s, %v", on, err)
	}

	o, err := p.Volumes.Open(t.Context(), v.ID, volume.Claim{Export: "test", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	c, err := s.Open(t.Context(), v.ID, &owner)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, r, err := c.File(t.Context(), "/install/vmlinuz")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, debian["install/vmlinuz"]) {
		t.Errorf("%d bytes, %v", len(data), err)
	}

	clone, err := p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: owner, Name: "clone"}, nil)
	if fault.Is(err, fault.NoReflink) {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		clone, err = p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: owner, Name: "clone"}, nil)
	}
	if err != nil || clone.ISOType != "os_generic" {
		t.Fatalf("%+v %v", clone, err)
	}
	if again, err := s.Info(t.Context(), clone.ID, nil); err != nil || !bytes.Equal(again.Encode(), info.Encode()) {
		t.Errorf("%s %v", again.Encode(), err)
	}
}

func TestContentComesLater(t *testing.T) {
	for _, size := range []int64{0, 1 << 30 / 2} {
		p, s, _ := parts(t)
		n := wish(iso.OSGeneric)
		n.Size = size
		v, err := s.Create(t.Context(), n, nil)
		if err != nil || v.Meta.Size != size {
			t.Fatalf("%+v %v", v, err)
		}
		if _, err := s.Open(t.Context(), v.ID, nil); err == nil {
			t.Error("what has no content was opened")
		}
		if size == 0 {
			if _, err := p.Volumes.Open(t.Context(), v.ID, volume.Claim{ReadOnly: true}); !fault.Is(err, fault.VolumeNotExportable) {
				t.Errorf("claimed: %v", err)
			}
		}
		upload := func(data []byte) error {
			_, _, err := p.Volumes.Upload(t.Context(), v.ID, nil, volume.Part{Length: int64(len(data)), Total: int64(len(data)), Body: bytes.NewReader(data)}, nil)
			return err
		}
		if err := upload([]byte("<html>not found")); !fault.Is(err, fault.ImageRefused) {
			t.Errorf("uploading a page: %v", err)
		}
		image := build(t, iso.Config{Label: "D", Files: debian})
		if err := upload(image); err != nil {
			t.Fatal(err)
		}
		v, err = p.Volumes.Get(t.Context(), v.ID, nil)
		if err != nil || v.Meta.Size != int64(len(image)) || v.ISOType != "os_generic" {
			t.Errorf("%+v %v", v, err)
		}
		if use := p.Pools.Infos()[0].Used; use.Bytes != int64(len(image)) || use.Volumes != 1 {
			t.Errorf("the pool counts %+v", use)
		}
		if info, err := s.Info(t.Context(), v.ID, nil); err != nil || *info.OSFlavour != "debian" {
			t.Errorf("%s %v", info.Encode(), err)
		}
		if err := upload(image); !fault.Is(err, fault.VolumeReadOnly) {
			t.Errorf("a second upload: %v", err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	p, s, pool := parts(t)
	image := build(t, iso.Config{Label: "D", Files: debian})
	wrong := &volume.Checksum{Algorithm: "sha256", Sum: make([]byte, 32)}
	tests := map[string]struct {
		src  volume.Source
		code fault.Code
	}{
		"empty":          {volume.Source{Body: strings.NewReader(""), Length: -1}, fault.ImageRefused},
		"a page":         {volume.Source{Body: strings.NewReader("<html>"), Length: -1}, fault.ImageRefused},
		"cut off":        {volume.Source{Body: bytes.NewReader(image[:len(image)-100]), Length: -1}, fault.ImageRefused},
		"wrong checksum": {volume.Source{Body: bytes.NewReader(image), Length: -1, Checksum: wrong}, fault.ChecksumMismatch},
		"breaks off":     {volume.Source{Body: io.MultiReader(bytes.NewReader(image), broken{}), Length: -1}, fault.InternalError},
		"no such file":   {volume.Source{Path: filepath.Join(pool, "nothing.iso")}, fault.FetchForbidden},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := s.Import(t.Context(), wish(iso.Tool), tt.src, nil); !fault.Is(err, tt.code) {
				t.Errorf("%v", err)
			}
		})
	}
	if use := p.Pools.Infos()[0].Used; use.Volumes != 0 {
		t.Errorf("volumes are left: %+v", use)
	}
	n := wish(iso.Tool)
	n.Info.Scope = new(strings.Repeat("x", 300))
	if _, err := s.Create(t.Context(), n, nil); !fault.Is(err, fault.BadRequest) {
		t.Errorf("a long word: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

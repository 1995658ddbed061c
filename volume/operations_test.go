package volume_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

func qemuImg(t *testing.T, args ...string) string {
	t.Helper()
	need.Program(t, "qemu-img")
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// content returns the bytes of a volume.
func (p *place) content(id volume.ID) []byte {
	p.t.Helper()
	d, err := p.Volumes.Download(p.t.Context(), id, nil, volume.Raw, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer d.Close()
	data, err := io.ReadAll(d.File)
	if err != nil || int64(len(data)) != d.Size {
		p.t.Fatalf("%d of %d bytes, %v", len(data), d.Size, err)
	}
	return data
}

// fill uploads data into a volume.
func (p *place) fill(id volume.ID, data []byte) {
	p.t.Helper()
	part := volume.Part{Length: int64(len(data)), Total: int64(len(data)), Body: bytes.NewReader(data)}
	if _, complete, err := p.Volumes.Upload(p.t.Context(), id, nil, part, nil); err != nil || !complete {
		p.t.Fatalf("complete %t, %v", complete, err)
	}
}

func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data)
	return data
}

func TestUpdate(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	yes, no, name, long, bus := true, false, "renamed", strings.Repeat("x", 10000), volume.SATA
	change := volume.Change{Name: &name, Private: &yes, Shareable: &yes, Clonable: &no, Bus: &bus}
	if err := p.Volumes.Update(t.Context(), v.ID, &alice, change); err != nil {
		t.Fatal(err)
	}
	got, err := p.Volumes.Get(t.Context(), v.ID, &alice)
	if err != nil || got.Meta.Name != name || !got.Meta.Private || !got.Meta.Shareable || got.Meta.Clonable || got.Meta.Bus != bus {
		t.Errorf("%+v, %v", got.Meta, err)
	}
	tests := map[string]struct {
		who    volume.Who
		id     volume.ID
		change volume.Change
		code   fault.Code
	}{
		"bootable and shareable":     {&alice, v.ID, volume.Change{Bootable: &yes}, fault.VolumeMetadataNotUpdatable},
		"long name":                  {&alice, v.ID, volume.Change{Name: &long}, fault.BadRequest},
		"a private one of another's": {&bob, v.ID, volume.Change{Name: &name}, fault.VolumeNotFound},
		"not there":                  {&alice, volume.NewID(), volume.Change{Name: &name}, fault.VolumeNotFound},
		"another's":                  {&bob, p.create("public", mib).ID, volume.Change{Name: &name}, fault.NotAllowed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, _ := p.Volumes.Get(t.Context(), tt.id, nil)
			want(t, p.Volumes.Update(t.Context(), tt.id, tt.who, tt.change), tt.code)
			after, _ := p.Volumes.Get(t.Context(), tt.id, nil)
			if before.Meta.Name != after.Meta.Name || before.Meta.Bootable != after.Meta.Bootable {
				t.Errorf("changed from %+v to %+v", before.Meta, after.Meta)
			}
		})
	}
}

func TestTransfer(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", mib)
	for range 2 { // the second is the first again, whose answer was lost
		if err := p.Volumes.Transfer(t.Context(), v.ID, &alice, bob); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); got.Meta.Creator != bob {
		t.Errorf("owner %s", got.Meta.Creator)
	}
	want(t, p.Volumes.Transfer(t.Context(), v.ID, &alice, client(3)), fault.NotAllowed)
	yes := true
	if err := p.Volumes.Update(t.Context(), v.ID, &bob, volume.Change{Private: &yes}); err != nil {
		t.Fatal(err)
	}
	if err := p.Volumes.Transfer(t.Context(), v.ID, nil, alice); err != nil {
		t.Fatal(err)
	}
	if p.Volumes.Has(t.Context(), v.ID, &bob) || !p.Volumes.Has(t.Context(), v.ID, &alice) {
		t.Error("the old owner still sees it, or the new one doesn't")
	}
}

func TestResize(t *testing.T) {
	for _, format := range []volume.Format{volume.Raw, volume.QCOW2} {
		t.Run(string(format), func(t *testing.T) {
			need.Program(t, "qemu-img")
			p := newPlace(t, `{"max-volume-size": 8388608, "max-total-size": 12582912}`)
			p.create("other", 4*mib)
			n := wish("v", 2*mib)
			n.Meta.Format = format
			v, err := p.Volumes.Create(t.Context(), n, nil)
			if err != nil {
				t.Fatal(err)
			}
			data := noise(2 * mib)
			p.fill(v.ID, data)
			resize := func(size int64, shrink bool, code fault.Code) {
				t.Helper()
				before, _ := p.Volumes.Get(t.Context(), v.ID, nil)
				err := p.Volumes.Resize(t.Context(), v.ID, &alice, volume.ResizeRequest{Size: size, Shrink: shrink})
				if code != "" {
					want(t, err, code)
					size = before.Meta.Size
				} else if err != nil {
					t.Fatal(err)
				}
				if after, _ := p.Volumes.Get(t.Context(), v.ID, nil); after.Meta.Size != size {
					t.Errorf("size %d, want %d", after.Meta.Size, size)
				}
				if _, b := p.used(); b != 4*mib+size {
					t.Errorf("used %d, want %d", b, 4*mib+size)
				}
			}
			resize(4*mib, false, "")
			resize(4*mib, false, "") // again
			resize(9*mib, false, fault.VolumeNotAllocable)
			resize(2*mib, false, fault.VolumeDimensionNotShrinkable)
			resize(mib+1, true, fault.BadRequest)
			resize(0, true, fault.BadRequest)
			resize(8*mib, false, "")
			if got := p.content(v.ID); !bytes.Equal(got[:2*mib], data) || !bytes.Equal(got[2*mib:], make([]byte, 6*mib)) {
				t.Error("content after growing")
			}
			resize(mib, true, "")
			if got := p.content(v.ID); !bytes.Equal(got, data[:mib]) {
				t.Error("content after shrinking")
			}
			if format == volume.QCOW2 {
				qemuImg(t, "check", "-f", "qcow2", filepath.Join(p.dir(v.ID), "data.qcow2"))
			}
			yes := true
			if err := p.Volumes.Update(t.Context(), v.ID, nil, volume.Change{ReadOnly: &yes}); err != nil {
				t.Fatal(err)
			}
			resize(2*mib, false, fault.VolumeDimensionNotUpdatable)
		})
	}
}

func TestConvertThereAndBack(t *testing.T) {
	need.Program(t, "qemu-img")
	p := newPlace(t, `{}`)
	v := p.create("v", 4*mib)
	data := noise(4 * mib)
	p.fill(v.ID, data)
	for _, to := range []volume.Format{volume.QCOW2, volume.QCOW2, volume.Raw} {
		last := int64(0)
		err := p.Volumes.Convert(t.Context(), v.ID, &alice, to, func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress %d after %d of %d", done, last, total)
			}
			last = done
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := p.Volumes.Get(t.Context(), v.ID, nil); got.Meta.Format != to {
			t.Errorf("format %s", got.Meta.Format)
		}
		if files, _ := filepath.Glob(p.dir(v.ID) + "/data.*"); len(files) != 1 || filepath.Ext(files[0]) != "."+to.Ext() {
			t.Errorf("files %v", files)
		}
		if !bytes.Equal(p.content(v.ID), data) {
			t.Errorf("content as %s", to)
		}
	}
	want(t, p.Volumes.Convert(t.Context(), v.ID, nil, volume.RBD, nil), fault.UnsupportedFormat)
	want(t, p.Volumes.Convert(t.Context(), v.ID, nil, volume.ISO, nil), fault.VolumeFormatNotAllowed)
	want(t, p.Volumes.Convert(t.Context(), v.ID, &bob, volume.QCOW2, nil), fault.NotAllowed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Volumes.Convert(ctx, v.ID, nil, volume.QCOW2, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if !bytes.Equal(p.content(v.ID), data) {
		t.Error("content after a cancelled conversion")
	}
}

func TestClone(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 4}`)
	n := wish("source", 2*mib)
	n.Meta.Private = true
	v, err := p.Volumes.Create(t.Context(), n, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := noise(2 * mib)
	p.fill(v.ID, data)
	no := false
	r := volume.CloneRequest{ID: volume.NewID(), Creator: alice, Name: "copy", Private: &no}
	for range 2 {
		c, err := p.Volumes.Clone(t.Context(), v.ID, r, nil)
		if err != nil || c.ID != r.ID || c.Meta.Name != "copy" || c.Meta.Private || c.Meta.Size != 2*mib {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if !bytes.Equal(p.content(r.ID), data) {
		t.Error("content")
	}
	p.fill(v.ID, noise(2*mib))
	if !bytes.Equal(p.content(r.ID), data) {
		t.Error("the clone changes with its source")
	}
	_, err = p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: bob, Name: "stolen"}, nil)
	want(t, err, fault.VolumeNotFound)
	if c, err := p.Volumes.Clone(t.Context(), r.ID, volume.CloneRequest{Creator: bob, Name: "of a public one"}, nil); err != nil || c.Meta.Creator != bob {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = p.Volumes.Clone(t.Context(), r.ID, volume.CloneRequest{Creator: bob, Name: "bad\nname"}, nil)
	want(t, err, fault.BadRequest)
	alg := volume.NoClone
	if err := p.Volumes.Update(t.Context(), r.ID, nil, volume.Change{Alg: &alg}); err != nil {
		t.Fatal(err)
	}
	_, err = p.Volumes.Clone(t.Context(), r.ID, volume.CloneRequest{Creator: alice, Name: "x"}, nil)
	want(t, err, fault.VolumeNotClonable)
	p.create("fourth", mib)
	_, err = p.Volumes.Clone(t.Context(), v.ID, volume.CloneRequest{Creator: alice, Name: "fifth"}, nil)
	want(t, err, fault.VolumeNotAllocable)
}

func TestImport(t *testing.T) {
	need.Program(t, "qemu-img")
	dir := t.TempDir()
	data := noise(3 * mib)
	raw := filepath.Join(dir, "image.img")
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	for _, format := range []string{"qcow2", "vmdk", "vdi", "vpc", "vhdx"} {
		args := []string{"convert", "-f", "raw", "-O", format, raw, filepath.Join(dir, "image."+format)}
		if format == "vpc" { // or the size is rounded to a geometry
			args = append(args[:1:1], append([]string{"-o", "force_size=on"}, args[1:]...)...)
		}
		qemuImg(t, args...)
	}
	qemuImg(t, "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", filepath.Join(dir, "thief.qcow2"))
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "page.html"), []byte("<!DOCTYPE html><html>"), 0o600),
		os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600),
		os.Symlink("/etc/passwd", filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "sub"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, root: t.TempDir()}
	p.pool = rig.Pool(t, p.root, "pool", `{"max-volume-size": "1G"}`)
	p.Parts = rig.Assemble(t, p.root, func(c *volume.Config) { c.ImportDirs = []string{dir} })

	imported := 0
	for _, source := range []string{"img", "qcow2", "vmdk", "vdi", "vpc", "vhdx"} {
		for _, to := range []volume.Format{volume.Raw, volume.QCOW2} {
			for _, overlay := range []bool{false, true} {
				if overlay && to != volume.QCOW2 {
					continue
				}
				t.Run(fmt.Sprintf("%s to %s, overlay %t", source, to, overlay), func(t *testing.T) {
					p := &place{t: t, root: p.root, pool: p.pool, Parts: p.Parts}
					n := wish("v", 0)
					n.Meta.Format = to
					v, err := p.Volumes.Import(t.Context(), n, volume.Source{Path: filepath.Join(dir, "image."+source), Overlay: overlay}, nil)
					if err != nil {
						t.Fatal(err)
					}
					if v.Meta.Size != 3*mib || v.Meta.Format != to || (v.Meta.Base != "") != overlay {
						t.Errorf("%+v", v.Meta)
					}
					if !bytes.Equal(p.content(v.ID), data) {
						t.Error("content")
					}
					if overlay {
						if err := p.Volumes.Compact(t.Context(), v.ID, nil, nil); err != nil {
							t.Fatal(err)
						}
						if v, _ := p.Volumes.Get(t.Context(), v.ID, nil); v.Meta.Base != "" || !bytes.Equal(p.content(v.ID), data) {
							t.Errorf("compacted: %+v", v.Meta)
						}
					}
					if err := p.Volumes.Destroy(t.Context(), v.ID, nil, true); err != nil {
						t.Error(err)
					}
					imported++
				})
			}
		}
	}
	if bases, _ := os.ReadDir(p.pool + "/elemento-base"); len(bases) != 0 {
		t.Errorf("bases left: %v", bases)
	}
	if n, b := p.used(); n != 0 || b != 0 {
		t.Errorf("used %d, %d after %d imports", n, b, imported)
	}

	good := &volume.Checksum{Algorithm: "sha256", Sum: sum[:]}
	bad := &volume.Checksum{Algorithm: "sha256", Sum: make([]byte, 32)}
	tests := map[string]struct {
		source volume.Source
		size   int64
		code   fault.Code
	}{
		"right checksum":      {volume.Source{Path: raw, Checksum: good}, 0, ""},
		"larger than it":      {volume.Source{Path: raw}, 8 * mib, ""},
		"a stream":            {volume.Source{Body: bytes.NewReader(data), Length: -1}, 0, ""},
		"wrong checksum":      {volume.Source{Path: raw, Checksum: bad}, 0, fault.ChecksumMismatch},
		"unknown checksum":    {volume.Source{Path: raw, Checksum: &volume.Checksum{Algorithm: "md5"}}, 0, fault.BadRequest},
		"smaller than it":     {volume.Source{Path: raw}, mib, fault.VolumeDimensionNotUpdatable},
		"larger than allowed": {volume.Source{Path: raw}, 2048 * mib, fault.VolumeNotAllocable},
		"another format":      {volume.Source{Path: raw, Format: "qcow2"}, 0, fault.ImageRefused},
		"raw with a header":   {volume.Source{Path: filepath.Join(dir, "image.qcow2"), Format: "raw"}, 0, fault.ImageRefused},
		"unknown format":      {volume.Source{Path: raw, Format: "floppy"}, 0, fault.UnsupportedFormat},
		"backing file":        {volume.Source{Path: filepath.Join(dir, "thief.qcow2")}, 0, fault.ImageRefused},
		"a web page":          {volume.Source{Path: filepath.Join(dir, "page.html")}, 0, fault.ImageRefused},
		"empty":               {volume.Source{Path: filepath.Join(dir, "empty")}, 0, fault.ImageRefused},
		"a short stream":      {volume.Source{Body: bytes.NewReader(data), Length: 4 * mib}, 0, fault.BadRequest},
		"a link":              {volume.Source{Path: filepath.Join(dir, "link")}, 0, fault.FetchForbidden},
		"a directory":         {volume.Source{Path: filepath.Join(dir, "sub")}, 0, fault.FetchForbidden},
		"outside":             {volume.Source{Path: "/etc/passwd"}, 0, fault.FetchForbidden},
		"dots":                {volume.Source{Path: dir + "/../../etc/passwd"}, 0, fault.FetchForbidden},
		"relative":            {volume.Source{Path: "image.img"}, 0, fault.FetchForbidden},
		"not there":           {volume.Source{Path: dir + "/nothing"}, 0, fault.FetchForbidden},
		"a URL":               {volume.Source{URL: "http://127.0.0.1/"}, 0, fault.FetchForbidden},
		"nothing":             {volume.Source{}, 0, fault.BadRequest},
		"raw overlay":         {volume.Source{Path: raw, Overlay: true}, 0, fault.VolumeFormatNotAllowed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &place{t: t, root: p.root, pool: p.pool, Parts: p.Parts}
			n := wish("v", tt.size)
			v, err := p.Volumes.Import(t.Context(), n, tt.source, nil)
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := p.content(v.ID); !bytes.Equal(got[:len(data)], data) || int64(len(got)) != max(tt.size, 3*mib) {
					t.Error("content")
				}
				if err := p.Volumes.Destroy(t.Context(), v.ID, nil, true); err != nil {
					t.Fatal(err)
				}
			} else {
				want(t, err, tt.code)
			}
			if n, b := p.used(); n != 0 || b != 0 {
				t.Errorf("used %d, %d", n, b)
			}
			if left, _ := filepath.Glob(p.pool + "/*vid*"); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestUploadInPieces(t *testing.T) {
	p := newPlace(t, `{}`)
	v := p.create("v", 4*mib)
	data := noise(3 * mib)
	sum := sha256.Sum256(data)
	send := func(from, to int, total int64, code fault.Code) (int64, bool) {
		t.Helper()
		part := volume.Part{Offset: int64(from), Length: int64(to - from), Total: total, Body: bytes.NewReader(data[from:to])}
		if total > 0 {
			part.Checksum = &volume.Checksum{Algorithm: "sha256", Sum: sum[:]}
		}
		n, complete, err := p.Volumes.Upload(t.Context(), v.ID, &alice, part, nil)
		if code == "" && err != nil {
			t.Fatal(err)
		} else if code != "" {
			want(t, err, code)
		}
		return n, complete
	}
	if n, complete := send(0, mib, -1, ""); n != mib || complete {
		t.Errorf("%d, %t", n, complete)
	}
	if n, _ := send(2*mib, 3*mib, 3*mib, fault.UploadOffset); n != mib {
		t.Errorf("after a gap: %d", n)
	}
	if n, err := p.Volumes.Uploaded(t.Context(), v.ID, nil); n != mib || err != nil {
		t.Errorf("there: %d, %v", n, err)
	}
	if got := p.content(v.ID); !bytes.Equal(got, make([]byte, 4*mib)) {
		t.Error("an unfinished upload shows")
	}
	broken := volume.Part{Offset: mib, Length: mib, Total: 3 * mib, Body: io.LimitReader(bytes.NewReader(data[mib:]), mib/2)}
	if n, _, err := p.Volumes.Upload(t.Context(), v.ID, nil, broken, nil); n != mib+mib/2 || !fault.Is(err, fault.BadRequest) {
		t.Errorf("a line that broke: %d, %v", n, err)
	}
	if n, complete := send(mib+mib/2, 3*mib, 3*mib, ""); n != 3*mib || !complete {
		t.Errorf("%d, %t", n, complete)
	}
	if got := p.content(v.ID); !bytes.Equal(got[:3*mib], data) || !bytes.Equal(got[3*mib:], make([]byte, mib)) {
		t.Error("content")
	}
	if n, err := p.Volumes.Uploaded(t.Context(), v.ID, nil); n != 0 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	if _, complete := send(0, mib, 5*mib, fault.UploadInvalidRange); complete {
		t.Error("larger than the volume")
	}
	sum[0]++
	if _, complete := send(0, 3*mib, 3*mib, fault.ChecksumMismatch); complete {
		t.Error("wrong checksum")
	}
	if got := p.content(v.ID); !bytes.Equal(got[:3*mib], data) {
		t.Error("content after a wrong checksum")
	}
	if err := p.Volumes.DropUpload(t.Context(), v.ID, nil); err != nil {
		t.Error(err)
	}
}

func TestTrash(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 3}`)
	a, b := p.create("a", mib), p.create("b", mib)
	data := noise(mib)
	p.fill(a.ID, data)
	for range 2 {
		if err := p.Volumes.Destroy(t.Context(), a.ID, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if p.Volumes.Has(t.Context(), a.ID, nil) {
		t.Error("it is still there")
	}
	if n, _ := p.used(); n != 2 {
		t.Errorf("%d count; the bin must", n)
	}
	name := "x"
	want(t, p.Volumes.Update(t.Context(), a.ID, nil, volume.Change{Name: &name}), fault.VolumeInTrash)
	want(t, p.Volumes.Destroy(t.Context(), b.ID, &bob, false), fault.NotAllowed)
	if err := p.Volumes.Destroy(t.Context(), volume.NewID(), &bob, false); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	for range 2 {
		if v, err := p.Volumes.Restore(t.Context(), a.ID, &alice); err != nil || v.ID != a.ID {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(p.content(a.ID), data) {
		t.Error("content after the bin")
	}
	_, err := p.Volumes.Restore(t.Context(), volume.NewID(), nil)
	want(t, err, fault.VolumeNotFound)

	// A full pool empties its bin, the oldest first, for who needs the room.
	c := p.create("c", mib)
	for _, id := range []volume.ID{b.ID, a.ID} {
		if err := p.Volumes.Destroy(t.Context(), id, nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := p.Volumes.CanCreate(t.Context(), wish("d", mib)); n != 1 || err != nil {
		t.Errorf("cancreate %d, %v", n, err)
	}
	p.create("d", mib)
	if bin := p.Volumes.Trashed(t.Context(), &alice); len(bin) != 1 || bin[0].ID != a.ID {
		t.Errorf("bin %+v", bin)
	}
	if n, err := p.Volumes.EmptyTrash(t.Context(), "", &bob); n != 0 || err != nil {
		t.Errorf("somebody else emptied %d, %v", n, err)
	}
	if n, err := p.Volumes.EmptyTrash(t.Context(), "pool", &alice); n != 1 || err != nil {
		t.Errorf("emptied %d, %v", n, err)
	}
	if n, err := p.Volumes.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if err := p.Volumes.Destroy(t.Context(), c.ID, nil, true); err != nil || p.Volumes.Has(t.Context(), c.ID, nil) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(p.pool + "/elemento-bin/*"); len(left) != 0 {
		t.Errorf("bin's directory: %v", left)
	}
	if n, _ := p.used(); n != 1 {
		t.Errorf("%d count", n)
	}
}

func TestBinWithoutRetention(t *testing.T) {
	p := newPlace(t, `{"bin-retention": "0s"}`)
	v := p.create("v", mib)
	if err := p.Volumes.Destroy(t.Context(), v.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if n, _ := p.used(); n != 0 || len(p.Volumes.Trashed(t.Context(), nil)) != 0 {
		t.Errorf("%d volumes count", n)
	}
}

func TestBinThatKeeps(t *testing.T) {
	p := newPlace(t, `{"max-volumes": 1, "bin-keep": true}`)
	v := p.create("v", mib)
	if err := p.Volumes.Destroy(t.Context(), v.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	_, err := p.Volumes.Create(t.Context(), wish("w", mib), nil)
	want(t, err, fault.VolumeNotAllocable)
	if n, err := p.Volumes.CanCreate(t.Context(), wish("w", mib)); n != 0 || err != nil {
		t.Errorf("cancreate %d, %v", n, err)
	}
	if len(p.Volumes.Trashed(t.Context(), nil)) != 1 {
		t.Error("the bin was emptied")
	}
}

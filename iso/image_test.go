package iso_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/iso"
	"elstore/test/need"
	"elstore/volume/fault"
)

// where finds the only record or text in an image.
func where(t testing.TB, data []byte, text string) int {
	t.Helper()
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("%q is not in the image", text)
	}
	return at
}

// bad are images that are refused, with a word of the reason.
func bad(t testing.TB) map[string]struct {
	data []byte
	says string
} {
	plain := map[string][]byte{"dir/file": []byte("hello"), "dir/deeper/x": nil}
	whole := build(t, iso.Config{Label: "X", Files: plain, BIOSBoot: "dir/file"})
	const pvd = 16 * iso.Sector
	root := func(d []byte) int { return int(binary.LittleEndian.Uint32(d[pvd+158:])) * iso.Sector }
	change := func(fn func(d []byte)) []byte {
		d := bytes.Clone(whole)
		fn(d)
		return d
	}
	// place is where the record of a name begins: before the identifier stand 33 bytes.
	place := func(d []byte, name string) int { return root(d) + bytes.Index(d[root(d):], []byte(name)) - 33 }
	extent := func(at int, value uint32) []byte {
		return change(func(d []byte) { binary.LittleEndian.PutUint32(d[at:], value) })
	}
	type image = struct {
		data []byte
		says string
	}
	page := []byte("<!DOCTYPE html><html><body>404</body></html>" + strings.Repeat(" ", 40000))
	return map[string]image{
		"0 bytes":               {nil, "empty"},
		"HTML page":             {page, "an HTML page"},
		"short HTML page":       {page[:100], "an HTML page"},
		"zeros":                 {make([]byte, 1<<20), "neither"},
		"qcow2":                 {append([]byte("QFI\xfb"), make([]byte, 100000)...), "a qcow2 image"},
		"cut in the descriptor": {whole[:pvd+100], "neither"},
		"cut in the files":      {whole[:len(whole)-1], "cut off"},
		"odd block size":        {change(func(d []byte) { d[pvd+128] = 3 }), "logical blocks"},
		"huge block size":       {change(func(d []byte) { d[pvd+129] = 0xff }), "logical blocks"},
		"tiny volume":           {extent(pvd+80, 3), "too small"},
		"root past the end":     {extent(pvd+158, 1<<31), "points to"},
		"root of no length":     {extent(pvd+166, 0), "root directory"},
		"huge root":             {extent(pvd+166, 1<<31), "allowed are"},
		"file past the end":     {extent(place(whole, "DIR")+2, 1<<30), "ends at"},
		"directory loops":       {extent(place(whole, "DIR")+2, uint32(root(whole)/iso.Sector)), "loops"},
		"record too long":       {change(func(d []byte) { d[place(d, "DIR")] = 255; d[place(d, "DIR")+32] = 250 }), "fit"},
		"record too short":      {change(func(d []byte) { d[place(d, "DIR")] = 20 }), "fit"},
		"name of a slash":       {change(func(d []byte) { copy(d[where(t, d, "dir"):], "d/r") }), "called"},
		"name of dots":          {change(func(d []byte) { at := where(t, d, "NM\x08\x01\x00dir"); copy(d[at+2:], "\x07\x01\x00..") }), "called"},
		"catalog past the end":  {extent(where(t, whole, "EL TORITO")-7+0x47, 1<<20), "boot catalog"},
		"catalog of something":  {extent(where(t, whole, "EL TORITO")-7+0x47, 20), "validation"},
		"system use loops": {change(func(d []byte) {
			r := place(d, "DIR")
			use := r + 33 + 3 + 1 - 1
			use += use % 2
			block := uint32(use / iso.Sector)
			entry := []byte("CE\x1c\x01")
			for _, v := range []uint32{block, uint32(use % iso.Sector), 28} {
				entry = binary.LittleEndian.AppendUint32(entry, v)
				entry = binary.BigEndian.AppendUint32(entry, v)
			}
			copy(d[use:], entry)
		}), "goes on"},
	}
}

func TestBadImagesAreRefused(t *testing.T) {
	for name, image := range bad(t) {
		t.Run(name, func(t *testing.T) {
			im, err := iso.Open(bytes.NewReader(image.data), int64(len(image.data)))
			if err == nil {
				err = im.Check(t.Context())
			}
			if !fault.Is(err, fault.ImageRefused) || !strings.Contains(err.Error(), image.says) {
				t.Errorf("got %v, want something of %q", err, image.says)
			}
		})
	}
}

func TestFindListOpen(t *testing.T) {
	files := map[string][]byte{"boot/vmlinuz": bytes.Repeat([]byte("kernel"), 5000), "boot/initrd": {}, "README": []byte("r")}
	im := open(t, build(t, iso.Config{Label: "X", Files: files}))
	f, err := im.Find(t.Context(), "/boot/vmlinuz")
	if err != nil || f.Dir || f.Size != 30000 {
		t.Fatalf("%+v %v", f, err)
	}
	r, err := im.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 12)
	if _, err := r.ReadAt(part, 29994-6); err != nil || string(part) != "kernelkernel" {
		t.Errorf("%q %v", part, err)
	}
	if n, err := r.ReadAt(part, 29994); n != 6 || err != io.EOF {
		t.Errorf("at the end %d %v", n, err)
	}
	for name, code := range map[string]fault.Code{"nothing": fault.NoSuchPath, "README/x": fault.NoSuchPath, "boot/../README": fault.NoSuchPath} {
		if _, err := im.Find(t.Context(), name); !fault.Is(err, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	boot, err := im.Find(t.Context(), "boot")
	if err != nil {
		t.Fatal(err)
	}
	below := func(dir iso.File, deep bool) (list []iso.File, err error) {
		err = im.Below(t.Context(), dir, deep, func(f iso.File) error { list = append(list, f); return nil })
		return list, err
	}
	if list, err := below(iso.File{Dir: true}, false); err != nil || len(list) != 2 {
		t.Errorf("the root has %+v, %v", list, err)
	}
	if list, err := below(iso.File{Dir: true}, true); err != nil || len(list) != 4 {
		t.Errorf("there are %+v, %v", list, err)
	}
	list, err := below(boot, true)
	if err != nil || len(list) != 2 || list[0].Path != "boot/initrd" || list[1].Path != "boot/vmlinuz" {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := im.Open(boot); !fault.Is(err, fault.BadRequest) {
		t.Errorf("opening a directory: %v", err)
	}
	if _, err := below(f, true); !fault.Is(err, fault.BadRequest) {
		t.Errorf("listing a file: %v", err)
	}
}

func TestBootEntries(t *testing.T) {
	files := map[string][]byte{"isolinux.bin": make([]byte, 5000), "efi.img": make([]byte, 100000)}
	data := build(t, iso.Config{Label: "X", Files: files, BIOSBoot: "isolinux.bin", UEFIBoot: "efi.img"})
	got := open(t, data).Boot
	if len(got) != 2 || got[0].Platform != iso.BIOS || got[1].Platform != iso.UEFI || !got[0].Bootable || got[1].Size != 196*512 || got[0].Emulation != "none" {
		t.Errorf("%+v", got)
	}
	need.Program(t, "xorriso")
	said := run(t, "xorriso", "-indev", saved(t, data), "-report_el_torito", "plain")
	for _, want := range []string{"BIOS  y   none", "UEFI  y   none"} {
		if !strings.Contains(said, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, said)
		}
	}
}

// Images that others make: of each kind of tree, relocated directories, symbolic links, UDF, files of several extents.
func TestReadsOthers(t *testing.T) {
	need.Program(t, "genisoimage", "xorriso")
	src := t.TempDir()
	deep := "a/b/c/d/e/f/g/h/i/j"
	files := map[string][]byte{
		deep + "/file": []byte("deep"), "Mixed Case.Text": []byte("m"), "big": bytes.Repeat([]byte{7}, 100000),
		strings.Repeat("long", 40): []byte("l"),
	}
	for name, data := range files {
		if err := os.MkdirAll(filepath.Join(src, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../b/./x", filepath.Join(src, "a", "link")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		make []string
		all  bool // names are kept as they are
		udf  bool
	}{
		{"Rock Ridge", []string{"genisoimage", "-quiet", "-R", "-V", "LABEL", "-o"}, true, false},
		{"Joliet", []string{"genisoimage", "-quiet", "-J", "-joliet-long", "-D", "-V", "LABEL", "-o"}, false, false},
		{"UDF bridge", []string{"genisoimage", "-quiet", "-udf", "-R", "-D", "-V", "LABEL", "-o"}, true, true},
		{"xorriso", []string{"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "LABEL", "-o"}, true, false},
		{"plain", []string{"genisoimage", "-quiet", "-iso-level", "1", "-D", "-f", "-V", "LABEL", "-o"}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "x.iso")
			dir := src
			if tt.name == "plain" {
				dir = filepath.Join(src, "a", "b", "c", "d", "e", "f", "g", "h", "i")
			}
			run(t, tt.make[0], append(tt.make[1:], to, dir)...)
			data, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			im := open(t, data)
			if im.Label != "LABEL" || im.UDF != tt.udf {
				t.Errorf("%+v", im)
			}
			got := content(t, im)
			for name, want := range files {
				if tt.all && !bytes.Equal(got[name], want) {
					t.Errorf("%s is not there, only %d files", name, len(got))
				}
			}
			switch tt.name {
			case "Joliet":
				if !bytes.Equal(got["Mixed Case.Text"], files["Mixed Case.Text"]) {
					t.Errorf("%d files", len(got))
				}
			case "plain":
				f, err := im.Find(t.Context(), "j/file")
				if err != nil || f.Size != 4 {
					t.Errorf("%+v %v", f, err)
				}
			default:
				link, err := im.Find(t.Context(), "a/link")
				if err != nil || link.Link != "../b/./x" {
					t.Errorf("%+v %v", link, err)
				}
			}
		})
	}
}

// TestSeveralExtents reads a file that an image keeps in two extents, as those over 4 GiB are.
func TestSeveralExtents(t *testing.T) {
	data := build(t, iso.Config{Label: "X", Files: map[string][]byte{"aa": bytes.Repeat([]byte("1"), 2048), "ab": []byte("2")}})
	// The first record says that another extent of the same file follows, which is the second one.
	at := int(binary.LittleEndian.Uint32(data[16*iso.Sector+158:])) * iso.Sector
	at += bytes.Index(data[at:], []byte("AA.;1")) - 33
	data[at+25] |= 0x80
	copy(data[where(t, data, "NM\x07\x01\x00ab"):], "NM\x07\x01\x00aa")
	im := open(t, data)
	f, err := im.Find(t.Context(), "aa")
	if err != nil || f.Size != 2049 {
		t.Fatalf("%+v %v", f, err)
	}
	r, err := im.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != strings.Repeat("1", 2048)+"2" {
		t.Errorf("%d bytes %v", len(got), err)
	}
}

// FuzzOpen opens images of which something was written over, and reads all of them: an error or an image, within bounds.
func FuzzOpen(f *testing.F) {
	whole := build(f, iso.Config{Label: "cidata", Files: map[string][]byte{"dir/file": []byte("hello"), "dir/deeper/x": nil}, BIOSBoot: "dir/file"})
	for _, image := range bad(f) {
		for at := 0; at < min(len(image.data), len(whole)); at++ {
			if image.data[at] != whole[at] {
				f.Add(uint32(at), image.data[at:min(at+40, len(image.data))], uint32(len(image.data)))
				break
			}
		}
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, length uint32) {
		data := bytes.Clone(whole)
		copy(data[int(at)%len(data):], patch)
		if int(length) < len(data) {
			data = data[:length]
		}
		im, err := iso.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !fault.Is(err, fault.ImageRefused) {
				t.Fatalf("not refused: %v", err)
			}
			return
		}
		im.Guess(t.Context())
		err = im.Walk(t.Context(), func(f iso.File) error {
			if f.Dir || f.Link != "" {
				return nil
			}
			r, err := im.Open(f)
			if err != nil {
				return nil //nolint:nilerr // a link that leads nowhere
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != f.Size {
				t.Fatalf("%s: %d of %d bytes: %v", f.Path, n, f.Size, err)
			}
			return nil
		})
		if err != nil && !fault.Is(err, fault.ImageRefused) {
			t.Fatalf("not refused: %v", err)
		}
	})
}

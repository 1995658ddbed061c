package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/volume"
	"elstore/volume/fault"
	"elstore/volume/qemu"
)

const foreignMark = "elemento.%s.0123456789abcdef0123456789abcdef.ignore"

// TestRecovery puts into a volume what a crash may leave there, and looks at what Scan, and Lock, make of it.
func TestRecovery(t *testing.T) {
	tool := newTool(t)
	raw, qcow := meta(volume.Raw, 4096), meta(volume.QCOW2, 1<<20)
	of := func(purpose string, m mark) (string, string) {
		m.Purpose, m.PID = purpose, 1
		return fmt.Sprintf(foreignMark, purpose), string(m.encode())
	}
	sized := func(m volume.Meta, size int64) volume.Meta { m.Size = size; return m }
	type files map[string]string
	with := func(f files, name, content string) files {
		f = maps.Clone(f)
		f[name] = content
		return f
	}
	image := qcow2(t, func(b []byte) []byte { return b })
	rawFiles := files{"meta.json": string(raw.Encode()), "data.img": strings.Repeat("x", 4096)}
	qcowFiles := files{"meta.json": string(qcow.Encode()), "data.qcow2": image}
	resize, sizes := of(toResize, mark{Before: 4096, After: 8192})
	shrink, fromSizes := of(toResize, mark{Before: 8192, After: 4096})
	other, noneOfIt := of(toResize, mark{Before: 1024, After: 2048})
	convert, empty := fmt.Sprintf(foreignMark, toConvert), ""
	unsized := raw
	unsized.Size = 0
	based := qcow
	based.Base = strings.Repeat("ab", 32) + ".img"

	tests := []struct {
		name  string
		inBin bool
		files files
		want  files // nil: as it was, less what is temporary
		drop  []string
	}{
		{name: "quiet", files: rawFiles},
		{name: "not yet in the bin", files: with(rawFiles, ".deleted", `{"time":"2026-01-02T03:04:05Z"}`), drop: []string{".deleted"}},
		{name: "in the bin", inBin: true, files: with(rawFiles, ".deleted", `{"time":"2026-01-02T03:04:05Z"}`)},
		{name: "temporary file", files: with(rawFiles, ".tmp-ABC", "half"), drop: []string{".tmp-ABC"}},
		{name: "claimed temporary file", files: with(with(rawFiles, ".tmp-ABC", "half"), ".tmp-ABC.lock", ""), drop: []string{".tmp-ABC", ".tmp-ABC.lock"}},
		{name: "claim alone", files: with(rawFiles, ".tmp-ABC.lock", ""), drop: []string{".tmp-ABC.lock"}},
		{name: "mark of another system", files: with(rawFiles, fmt.Sprintf(foreignMark, "clone"), "garbage"), drop: []string{fmt.Sprintf(foreignMark, "clone")}},
		{name: "mark in the bin", inBin: true, files: with(rawFiles, convert, empty), drop: []string{convert}},
		{name: "upload", files: with(with(rawFiles, "upload.part", "part"), fmt.Sprintf(foreignMark, "replace"), empty), drop: []string{fmt.Sprintf(foreignMark, "replace")}},

		{name: "conversion not done", files: with(with(rawFiles, "data.qcow2", "half"), convert, empty), drop: []string{"data.qcow2", convert}},
		{name: "conversion done", files: with(with(qcowFiles, "data.img", "old"), convert, empty), drop: []string{"data.img", convert}},
		{
			name:  "conversion without the image that counts",
			files: files{"meta.json": string(raw.Encode()), "data.qcow2": image, convert: ""}, drop: []string{convert},
		},
		{name: "two images and no mark", files: with(rawFiles, "data.qcow2", "whose?")},
		{name: "two images and a mark of something else", files: with(with(rawFiles, "data.qcow2", "whose?"), resize, sizes), drop: []string{resize}},

		{
			name:  "growing not done",
			files: with(with(rawFiles, "data.img", strings.Repeat("x", 4096)+strings.Repeat("y", 1000)), resize, sizes),
			want:  rawFiles,
		},
		{
			name:  "shrinking not finished",
			files: with(with(rawFiles, "data.img", strings.Repeat("x", 4096)+strings.Repeat("y", 4096)), shrink, fromSizes),
			want:  rawFiles,
		},
		{
			name:  "resized by another system",
			files: with(with(rawFiles, "data.img", strings.Repeat("y", 8192)), resize, ""),
			want:  files{"meta.json": string(sized(raw, 8192).Encode()), "data.img": strings.Repeat("y", 8192)},
		},
		{
			name:  "resized, but not from or to this size",
			files: with(with(rawFiles, "data.img", strings.Repeat("y", 8192)), other, noneOfIt),
			want:  files{"meta.json": string(sized(raw, 8192).Encode()), "data.img": strings.Repeat("y", 8192)},
		},
		{
			name:  "smaller than it says",
			files: with(with(rawFiles, "data.img", "small"), resize, sizes),
			want:  files{"meta.json": string(sized(raw, 5).Encode()), "data.img": "small"},
		},
		{
			name:  "no size in meta.json",
			files: files{"meta.json": string(unsized.Encode()), "data.img": "12345", resize: sizes}, drop: []string{resize},
		},
		{name: "sizes that disagree and no mark", files: with(rawFiles, "data.img", "small")},
		{
			name:  "qcow2 growing not done",
			files: with(with(files{"meta.json": string(sized(qcow, 1<<19).Encode())}, "data.qcow2", image), fmt.Sprintf(foreignMark, toResize), string(mark{Before: 1 << 19, After: 1 << 20}.encode())),
			want:  files{"meta.json": string(sized(qcow, 1<<19).Encode()), "data.qcow2": "cut"},
		},
		{
			name:  "compacted",
			files: files{"meta.json": string(based.Encode()), "data.qcow2": image, fmt.Sprintf(foreignMark, toCompact): ""},
			want:  qcowFiles,
		},
		{
			name:  "damaged meta.json",
			files: files{"meta.json": "{", "data.img": "1", "data.qcow2": "2", convert: ""}, drop: []string{convert},
		},
		{
			name:  "damaged image",
			files: files{"meta.json": string(qcow.Encode()), "data.qcow2": "2", resize: ""}, drop: []string{resize},
		},
	}
	for _, tt := range tests {
		for _, by := range []string{"Scan", "Lock"} {
			t.Run(tt.name+" by "+by, func(t *testing.T) {
				dir, id := t.TempDir(), volume.NewID()
				at := filepath.Join(dir, volumeName(id))
				if tt.inBin {
					at = filepath.Join(dir, binName, volumeName(id))
				}
				b := openPool(t, Config{Dir: dir, Tool: tool})
				for name, content := range tt.files {
					put(t, content, at, name)
				}
				if by == "Scan" {
					scan(t, b)
				} else {
					locked(t, b, id, func(volume.Held) {})
				}
				want := maps.Clone(map[string]string(tt.want))
				if want == nil {
					want = maps.Clone(map[string]string(tt.files))
				}
				for _, name := range tt.drop {
					delete(want, name)
				}
				got := tree(t, at)
				delete(got, lockName)
				if want["data.qcow2"] == "cut" {
					want["data.qcow2"] = got["data.qcow2"]
				}
				if !maps.Equal(got, want) {
					t.Errorf("there is %q, %q\nwant %q, %q", names(got), got["meta.json"], names(want), want["meta.json"])
				}
				if f := scan(t, b)[id]; f.Problem == nil && tt.want != nil {
					m, err := volume.ParseMeta([]byte(want["meta.json"]))
					if err != nil || string(f.Meta.Encode()) != string(m.Encode()) {
						t.Errorf("it is %+v, want %+v", f.Meta, m)
					}
				}
			})
		}
	}
}

// TestLeaksAreRepaired leaves clusters in a qcow2 image that nothing refers to, as a killed resize does.
func TestLeaksAreRepaired(t *testing.T) {
	tool := newTool(t)
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir, Tool: tool})
	source := filepath.Join(t.TempDir(), "source")
	put(t, strings.Repeat("data", 1<<18), source)
	id, _ := create(t, b, meta(volume.QCOW2, 1<<20), volume.Content{From: &volume.Image{Path: source, Format: "raw", Size: 1 << 20}})
	at := filepath.Join(dir, volumeName(id))
	image := qemu.Image{Path: filepath.Join(at, "data.qcow2"), Format: qemu.QCOW2}

	data, err := os.ReadFile(image.Path)
	if err != nil {
		t.Fatal(err)
	}
	l1 := binary.BigEndian.Uint64(data[40:])
	l2 := binary.BigEndian.Uint64(data[l1:]) & 0x00fffffffffffe00
	clear(data[l2 : l2+64])
	put(t, string(data), image.Path)
	if r, err := tool.Check(t.Context(), image, false); err != nil || r.Leaks == 0 {
		t.Fatalf("the image has %d leaks, %v: the test is wrong", r.Leaks, err)
	}
	put(t, "", at, fmt.Sprintf(foreignMark, toResize))
	scan(t, b)
	if r, err := tool.Check(t.Context(), image, false); err != nil || r.Leaks != 0 {
		t.Errorf("after recovery the image has %d leaks, %v", r.Leaks, err)
	}
}

func TestHalfMadeVolumesAreSwept(t *testing.T) {
	dir := t.TempDir()
	b := openPool(t, Config{Dir: dir})
	live, err := b.Stage(t.Context(), volume.NewID())
	if err != nil {
		t.Fatal(err)
	}
	defer live.Discard()
	keep := names(tree(t, dir))
	id := volume.NewID()
	for _, left := range []string{
		stageName(volume.NewID()) + "/.lock", stageName(id) + "/data.img", stageName(volume.NewID()) + "/deep/er/file",
		purgeName(id) + "/data.img", binName + "/" + purgeName(id) + "/meta.json", binName + "/" + purgeName(volume.NewID()) + "/.lock",
		".tmp-ABC.lock", ".tmp-DEF.lock", ".tmp-DEF/.lock", baseName + "/.tmp-GHI.lock", baseName + "/.tmp-GHI",
		baseName + "/" + strings.Repeat("ab", 32) + ".img",
	} {
		put(t, "", dir, left)
	}
	put(t, "a file, no directory", dir, stageName(volume.NewID()))
	for range 2 {
		if found := scan(t, b); len(found) > 0 {
			t.Errorf("found %v", found)
		}
	}
	got := slices.DeleteFunc(names(tree(t, dir)), func(name string) bool {
		return name == binName || name == baseName || slices.Contains(keep, name)
	})
	if len(got) != 1 || !strings.HasPrefix(got[0], stagePrefix) { // a file in a stage's place is not ours
		t.Errorf("left are %q", got)
	}
	// The id of one that was swept is free, as is that of one that is not yet.
	put(t, "half", dir, stageName(id), "data.img")
	s, err := b.Stage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	s.Discard()
}

// TestADeadServersChild kills a server whose child still writes to the image: the lock is not free until that is gone too.
func TestADeadServersChild(t *testing.T) {
	need.Program(t, "cat")
	dir := t.TempDir()
	first := openPool(t, Config{Dir: dir})
	id, m := create(t, first, meta(volume.Raw, 4096), volume.Content{})
	h, err := first.Lock(t.Context(), id, volume.Operation{Purpose: "convert"})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.(*held).begin(mark{Purpose: toConvert}); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, volumeName(id), "data.qcow2")
	put(t, "half", half)
	child := exec.CommandContext(t.Context(), "cat")
	child.ExtraFiles = first.lockFiles()
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	first.Kill()

	second, err := Open(t.Context(), Config{Dir: dir}.SettlingFor(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	f := scan(t, second)[id]
	if !fault.Is(f.Problem, fault.VolumeAlreadyLocked) || !strings.Contains(f.Problem.Error(), "convert") || f.Meta.Size != m.Size {
		t.Errorf("while the child lives the volume is %+v", f)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("recovery touched a volume whose lock is held: %v", err)
	}
	ended := make(chan error)
	go func() { // and a Scan that waits long enough gets it
		third, err := Open(t.Context(), Config{Dir: dir})
		if err == nil {
			defer third.Close()
			err = third.Scan(t.Context(), func(f volume.Found) error { return f.Problem })
		}
		ended <- err
	}()
	if err := errors.Join(stdin.Close(), child.Wait()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the child is gone, and Scan says %v", err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("the half-made image is still there")
	}
}

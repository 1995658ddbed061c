package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"elstore/test/need"
	"elstore/volume/fault"
)

func TestCreate(t *testing.T) {
	tool := realTool(t)
	const size = 10 << 20
	for name, tc := range map[string]struct {
		format   Format
		prealloc Preallocation
		onDisk   int64 // at least
	}{
		"raw":            {Raw, "", 0},
		"raw off":        {Raw, PreallocOff, 0},
		"raw falloc":     {Raw, PreallocFalloc, size},
		"raw full":       {Raw, PreallocFull, size},
		"qcow2":          {QCOW2, "", 0},
		"qcow2 metadata": {QCOW2, PreallocMetadata, 0},
		"qcow2 falloc":   {QCOW2, PreallocFalloc, size},
		"qcow2 full":     {QCOW2, PreallocFull, size},
		"vmdk":           {VMDK, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			img := Image{Path: filepath.Join(t.TempDir(), "a b:c,d"), Format: tc.format}
			if err := tool.Create(t.Context(), CreateOptions{Image: img, Size: size, Preallocation: tc.prealloc}); err != nil {
				t.Fatal(err)
			}
			info, err := tool.Info(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			if info.Format != tc.format || info.VirtualSize != size || info.ActualSize < tc.onDisk {
				t.Fatalf("the image is %+v", info)
			}
			if tc.onDisk == 0 && info.ActualSize >= size {
				t.Fatalf("the image takes %d bytes", info.ActualSize)
			}
			if st, err := os.Stat(img.Path); err != nil || st.Mode().Perm() != 0o600 {
				t.Fatalf("its mode is %v, %v", st.Mode(), err)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	tool := realTool(t)
	dir := t.TempDir()
	there := writeFile(t, "there", []byte("data"))
	for name, tc := range map[string]struct {
		options CreateOptions
		want    fault.Code
	}{
		"no size":            {CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}}, fault.BadRequest},
		"a negative size":    {CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}, Size: -512}, fault.BadRequest},
		"half a sector":      {CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}, Size: 1000}, fault.BadRequest},
		"a relative path":    {CreateOptions{Image: Image{Path: "a", Format: Raw}, Size: 512}, fault.ImageToolFailed},
		"rbd":                {CreateOptions{Image: Image{Path: "rbd:a/b", Format: Raw}, Size: 512}, fault.ImageToolFailed},
		"an unknown format":  {CreateOptions{Image: Image{Path: dir + "/a", Format: "qcow"}, Size: 512}, fault.UnsupportedFormat},
		"preallocation":      {CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}, Size: 512, Preallocation: PreallocMetadata}, fault.BadRequest},
		"a raw overlay":      {CreateOptions{Image: Image{Path: dir + "/a", Format: Raw}, Size: 512, Backing: "b", BackingFormat: Raw}, fault.BadRequest},
		"a guessed base":     {CreateOptions{Image: Image{Path: dir + "/a", Format: QCOW2}, Size: 512, Backing: "b"}, fault.BadRequest},
		"an absolute base":   {CreateOptions{Image: Image{Path: dir + "/a", Format: QCOW2}, Size: 512, Backing: "/etc/passwd", BackingFormat: Raw}, fault.BadRequest},
		"a base in json":     {CreateOptions{Image: Image{Path: dir + "/a", Format: QCOW2}, Size: 512, Backing: `json:{"driver":"raw"}`, BackingFormat: Raw}, fault.BadRequest},
		"a long base":        {CreateOptions{Image: Image{Path: dir + "/a", Format: QCOW2}, Size: 512, Backing: strings.Repeat("b", 1024), BackingFormat: Raw}, fault.BadRequest},
		"too large for qemu": {CreateOptions{Image: Image{Path: dir + "/a", Format: QCOW2}, Size: 1 << 62}, fault.ImageToolFailed},
		"what is there":      {CreateOptions{Image: Image{Path: there, Format: QCOW2}, Size: 512}, fault.InternalError},
		"nowhere":            {CreateOptions{Image: Image{Path: dir + "/no/a", Format: QCOW2}, Size: 512}, fault.InternalError},
	} {
		t.Run(name, func(t *testing.T) {
			err := tool.Create(t.Context(), tc.options)
			wantCode(t, err, tc.want)
			if strings.Contains(err.Error(), dir) && tc.want != fault.InternalError {
				t.Errorf("%q names a directory of ours", err)
			}
			wantNothing(t, dir+"/a")
		})
	}
	wantContent(t, there, []byte("data"))
	if !errors.Is(tool.Create(t.Context(), CreateOptions{Image: Image{Path: there, Format: QCOW2}, Size: 512}), fs.ErrExist) {
		t.Error("that there is a file can't be told")
	}
}

func TestCreateOverlay(t *testing.T) {
	tool := realTool(t)
	dir := t.TempDir()
	data := pattern(3 << 20)
	overlay := Image{Path: filepath.Join(dir, "vid", "data.qcow2"), Format: QCOW2, Bases: filepath.Join(dir, "base")}
	for _, d := range []string{"vid", "base"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The base comes later: it is not opened.
	options := CreateOptions{Image: overlay, Size: 4 << 20, Backing: "../base/a.raw", BackingFormat: Raw}
	if err := tool.Create(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "base", "a.raw"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := tool.Info(t.Context(), overlay)
	if err != nil || info.BackingFile != "../base/a.raw" || info.BackingFormat != Raw || info.VirtualSize != 4<<20 {
		t.Fatalf("Info is %+v, %v", info, err)
	}
	flat := Image{Path: filepath.Join(dir, "flat.qcow2"), Format: QCOW2}
	if err := tool.Convert(t.Context(), overlay, flat, ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	if info, err = tool.Info(t.Context(), flat); err != nil || info.BackingFile != "" {
		t.Fatalf("Info is %+v, %v", info, err)
	}
	if same, err := tool.Compare(t.Context(), overlay, flat); err != nil || !same {
		t.Fatalf("the copy is the same: %v, %v", same, err)
	}
	raw := Image{Path: filepath.Join(dir, "flat.raw"), Format: Raw}
	if err := tool.Convert(t.Context(), flat, raw, ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, raw.Path, data)
}

func TestResize(t *testing.T) {
	tool := realTool(t)
	data := pattern(4 << 20)
	for _, f := range []Format{Raw, QCOW2} {
		t.Run(string(f), func(t *testing.T) {
			img := Image{Path: filled(t, f, data), Format: f}
			size := func(want int64) {
				t.Helper()
				if info, err := tool.Info(t.Context(), img); err != nil || info.VirtualSize != want {
					t.Fatalf("the image is %+v, %v, want %d bytes", info, err, want)
				}
			}
			if err := tool.Resize(t.Context(), img, ResizeOptions{Size: 8 << 20}); err != nil {
				t.Fatal(err)
			}
			size(8 << 20)
			if err := tool.Resize(t.Context(), img, ResizeOptions{Size: 16 << 20, Preallocation: PreallocFalloc}); err != nil {
				t.Fatal(err)
			}
			size(16 << 20)
			wantCode(t, tool.Resize(t.Context(), img, ResizeOptions{Size: 2 << 20}), fault.VolumeDimensionNotShrinkable)
			size(16 << 20)
			if err := tool.Resize(t.Context(), img, ResizeOptions{Size: 2 << 20, Shrink: true}); err != nil {
				t.Fatal(err)
			}
			size(2 << 20)
			raw := Image{Path: filepath.Join(t.TempDir(), "a.raw"), Format: Raw}
			if err := tool.Convert(t.Context(), img, raw, ConvertOptions{}); err != nil {
				t.Fatal(err)
			}
			wantContent(t, raw.Path, data[:2<<20])
			if c, err := tool.Check(t.Context(), img, false); err != nil || !c.OK() || c.Leaks != 0 {
				t.Fatalf("Check is %+v, %v", c, err)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		img := Image{Path: image(t, QCOW2, 1<<20), Format: QCOW2}
		wantCode(t, tool.Resize(t.Context(), img, ResizeOptions{Size: 100}), fault.BadRequest)
		wantCode(t, tool.Resize(t.Context(), img, ResizeOptions{Size: 2 << 20, Preallocation: "x"}), fault.BadRequest)
		wantCode(t, tool.Resize(t.Context(), Image{Path: "rbd:a/b", Format: Raw}, ResizeOptions{Size: 512}), fault.ImageToolFailed)
		wantCode(t, tool.Resize(t.Context(), Image{Path: img.Path + "x", Format: Raw}, ResizeOptions{Size: 512}), fault.ImageToolFailed)
	})
}

// Every format that comes in, in every form that is allowed, is the same afterwards.
func TestConvert(t *testing.T) {
	tool := realTool(t)
	data := pattern(5 << 20)
	for name, tc := range map[string]struct {
		format  Format
		options []string
	}{
		"raw":                  {Raw, nil},
		"qcow2":                {QCOW2, nil},
		"qcow2 0.10":           {QCOW2, []string{"-o", "compat=0.10"}},
		"qcow2 zlib":           {QCOW2, []string{"-c"}},
		"qcow2 zstd":           {QCOW2, []string{"-c", "-o", "compression_type=zstd"}},
		"qcow2 extended L2":    {QCOW2, []string{"-o", "extended_l2=on,cluster_size=128k"}},
		"vmdk sparse":          {VMDK, nil},
		"vmdk streamOptimized": {VMDK, []string{"-o", "subformat=streamOptimized"}},
		"vdi":                  {VDI, nil},
		"vdi fixed":            {VDI, []string{"-o", "static=on"}},
		"vhd":                  {VPC, []string{"-o", "force_size=on"}},
		"vhd fixed":            {VPC, []string{"-o", "force_size=on,subformat=fixed"}},
		"vhdx":                 {VHDX, nil},
		"vhdx fixed":           {VHDX, []string{"-o", "subformat=fixed"}},
	} {
		t.Run(name, func(t *testing.T) {
			src := Image{Path: filled(t, tc.format, data, tc.options...), Format: tc.format}
			in := inspectFile(t, src.Path, InspectOptions{Format: tc.format})
			if in.Format != tc.format || in.VirtualSize != int64(len(data)) {
				t.Fatalf("Inspect is %+v", in)
			}
			for _, to := range []Format{Raw, QCOW2} {
				dst := Image{Path: filepath.Join(t.TempDir(), "a."+string(to)), Format: to}
				var seen []int64
				progress := func(done, total int64) {
					if total != int64(len(data)) {
						t.Errorf("total is %d", total)
					}
					seen = append(seen, done)
				}
				if err := tool.Convert(t.Context(), src, dst, ConvertOptions{Progress: progress}); err != nil {
					t.Fatal(err)
				}
				wantProgress(t, seen, int64(len(data)))
				if same, err := tool.Compare(t.Context(), src, dst); err != nil || !same {
					t.Fatalf("the copy is the same: %v, %v", same, err)
				}
				if to == Raw {
					wantContent(t, dst.Path, data)
				}
				info, err := tool.Info(t.Context(), dst)
				if err != nil || info.VirtualSize != int64(len(data)) || info.ActualSize >= int64(len(data)) {
					t.Fatalf("the copy is %+v, %v", info, err)
				}
			}
		})
	}
}

// wantProgress fails the test unless progress rises to total, which it reaches once.
func wantProgress(t testing.TB, seen []int64, total int64) {
	t.Helper()
	if len(seen) < 2 || seen[len(seen)-1] != total {
		t.Fatalf("progress is %v", seen)
	}
	for i, done := range seen[:len(seen)-1] {
		if done < 0 || done >= total || i > 0 && done < seen[i-1] {
			t.Fatalf("progress is %v", seen)
		}
	}
}

func TestConvertCancelled(t *testing.T) {
	tool := realTool(t)
	src := Image{Path: writeFile(t, "a.raw", []byte(strings.Repeat("data", 64<<20))), Format: Raw}
	dst := Image{Path: filepath.Join(t.TempDir(), "a.qcow2"), Format: QCOW2}
	var pids []int
	tool.started = func(pid int) { pids = append(pids, pid) }
	why := errors.New("the job was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	last := int64(0)
	err := tool.Convert(ctx, src, dst, ConvertOptions{Threads: 1, Progress: func(done, _ int64) {
		last = done
		if done > 0 {
			cancel(why)
		}
	}})
	if !errors.Is(err, why) {
		t.Fatalf("after %d bytes the error is %v", last, err)
	}
	if last == 256<<20 {
		t.Fatal("it was done when it was cancelled")
	}
	if len(pids) != 2 { // info and convert
		t.Fatalf("%d processes ran", len(pids))
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	wantNothing(t, dst.Path)
}

func TestConvertPreallocated(t *testing.T) {
	tool := realTool(t)
	const size = 4 << 20
	src := Image{Path: filled(t, QCOW2, make([]byte, size)), Format: QCOW2}
	for _, to := range []Format{Raw, QCOW2} {
		dst := Image{Path: filepath.Join(t.TempDir(), "a"), Format: to}
		if err := tool.Convert(t.Context(), src, dst, ConvertOptions{Preallocation: PreallocFalloc, Threads: 100}); err != nil {
			t.Fatal(err)
		}
		if info, err := tool.Info(t.Context(), dst); err != nil || info.ActualSize < size {
			t.Fatalf("the copy is %+v, %v", info, err)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	tool := realTool(t)
	dir := t.TempDir()
	raw := Image{Path: writeFile(t, "a.raw", make([]byte, 1<<20)), Format: Raw}
	dst := Image{Path: dir + "/a", Format: QCOW2}
	for name, tc := range map[string]struct {
		src, dst Image
		options  ConvertOptions
		want     fault.Code
	}{
		"a relative source": {Image{Path: "a", Format: Raw}, dst, ConvertOptions{}, fault.ImageToolFailed},
		"a relative target": {raw, Image{Path: "a", Format: Raw}, ConvertOptions{}, fault.ImageToolFailed},
		"preallocation":     {raw, Image{Path: dir + "/a", Format: VDI}, ConvertOptions{Preallocation: PreallocFull}, fault.BadRequest},
		"a missing source":  {Image{Path: dir + "/b", Format: Raw}, dst, ConvertOptions{}, fault.ImageToolFailed},
		"missing, followed": {Image{Path: dir + "/b", Format: Raw}, dst, ConvertOptions{Progress: func(int64, int64) {}}, fault.ImageToolFailed},
		"the wrong format":  {Image{Path: raw.Path, Format: VDI}, dst, ConvertOptions{}, fault.ImageToolFailed},
		"what is there":     {raw, Image{Path: raw.Path, Format: QCOW2}, ConvertOptions{}, fault.InternalError},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, tool.Convert(t.Context(), tc.src, tc.dst, tc.options), tc.want)
			wantNothing(t, dst.Path)
		})
	}
	wantContent(t, raw.Path, make([]byte, 1<<20))
}

// mountSmall mounts a file system in memory.
func mountSmall(t testing.TB, kind, options string) string {
	t.Helper()
	need.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, kind, 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}

func TestFullFileSystem(t *testing.T) {
	tool := realTool(t)
	dir := mountSmall(t, "tmpfs", "size=8m")
	src := Image{Path: writeFile(t, "a.raw", []byte(strings.Repeat("data", 4<<20))), Format: Raw}
	dst := filepath.Join(dir, "a")
	for _, f := range []Format{Raw, QCOW2} {
		wantCode(t, tool.Convert(t.Context(), src, Image{Path: dst, Format: f}, ConvertOptions{}), fault.PoolFull)
		wantNothing(t, dst)
		for _, p := range []Preallocation{PreallocFalloc, PreallocFull} {
			err := tool.Create(t.Context(), CreateOptions{Image: Image{Path: dst, Format: f}, Size: 16 << 20, Preallocation: p})
			wantCode(t, err, fault.PoolFull)
			wantNothing(t, dst)
		}
	}
	small := Image{Path: dst, Format: Raw}
	if err := tool.Create(t.Context(), CreateOptions{Image: small, Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, tool.Resize(t.Context(), small, ResizeOptions{Size: 16 << 20, Preallocation: PreallocFull}), fault.PoolFull)
}

// ramfs is one of the file systems that don't write past the page cache.
func TestWithoutDirectIO(t *testing.T) {
	tool := realTool(t)
	data := pattern(2 << 20)
	src := Image{Path: writeFile(t, "a.raw", data), Format: Raw}
	for kind, want := range map[string]bool{"ramfs": false, "": true} {
		dir := t.TempDir()
		if kind != "" {
			dir = mountSmall(t, kind, "")
		}
		to, err := newTarget(filepath.Join(dir, "probe"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if got := to.direct(); got != want {
			t.Errorf("%q writes past the cache: %v, want %v", kind, got, want)
		}
		if err := to.finish(nil); err != nil {
			t.Fatal(err)
		}
		dst := Image{Path: filepath.Join(dir, "a.raw"), Format: Raw}
		if err := tool.Convert(t.Context(), src, dst, ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		wantContent(t, dst.Path, data)
	}
}

// lockAs takes the locks on an image that a QEMU has that writes to it and lets nobody else: bytes 101 and 201 stand
// for writing; QEMU's docs/system/qemu-block-drivers, "Disk image file locking".
func lockAs(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for _, at := range []int64{101, 201} {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInUse(t *testing.T) {
	tool := realTool(t)
	for _, f := range []Format{Raw, QCOW2} {
		img := Image{Path: image(t, f, 1<<20), Format: f}
		lockAs(t, img.Path)
		dst := Image{Path: filepath.Join(t.TempDir(), "a"), Format: Raw}
		wantCode(t, tool.Resize(t.Context(), img, ResizeOptions{Size: 2 << 20}), fault.VolumeInUse)
		wantCode(t, tool.Convert(t.Context(), img, dst, ConvertOptions{}), fault.VolumeInUse)
		wantNothing(t, dst.Path)
		if f == Raw {
			continue // which QEMU reads while others write, where it does not copy it
		}
		_, err := tool.Compare(t.Context(), img, img)
		wantCode(t, err, fault.VolumeInUse)
		_, err = tool.Info(t.Context(), img)
		wantCode(t, err, fault.VolumeInUse)
		_, err = tool.Check(t.Context(), img, true)
		wantCode(t, err, fault.VolumeInUse)
	}
}

func TestFinishFails(t *testing.T) {
	dir := t.TempDir()
	to, err := newTarget(filepath.Join(dir, "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	// In the file's place comes a directory that is not empty: it can't be removed.
	if err := os.Remove(to.path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(to.path, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	why := fault.Errorf(fault.PoolFull, "full")
	err = to.finish(why)
	if !fault.Is(err, fault.PoolFull) || !strings.Contains(fmt.Sprint(err), "half-made") {
		t.Fatalf("error is %v", err)
	}

	if to, err = newTarget(filepath.Join(dir, "c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := to.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := to.finish(nil); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("sync of a closed file: %v", err)
	}
	wantNothing(t, to.path)
	if err := syncFile(to.path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("sync of no file: %v", err)
	}
}

// A guest can write what it likes into a raw disk, also the header of an image on /etc/passwd. It stays a raw disk, by
// itself and as the base of an overlay.
func TestNeverGuesses(t *testing.T) {
	tool := realTool(t)
	dir := t.TempDir()
	hostile := golden(t, image(t, QCOW2, 1<<20, "-u", "-b", "/etc/passwd", "-F", "raw"))
	hostile = append(hostile, make([]byte, 512-len(hostile)%512)...)
	raw := Image{Path: filepath.Join(dir, "data.raw"), Format: Raw}
	if err := os.WriteFile(raw.Path, hostile, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := tool.Info(t.Context(), raw)
	if err != nil || info.Format != Raw || info.BackingFile != "" || info.VirtualSize != int64(len(hostile)) {
		t.Fatalf("Info is %+v, %v", info, err)
	}
	overlay := Image{Path: filepath.Join(dir, "overlay.qcow2"), Format: QCOW2, Bases: dir}
	options := CreateOptions{Image: overlay, Size: info.VirtualSize, Backing: "data.raw", BackingFormat: Raw}
	if err := tool.Create(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	for i, src := range []Image{raw, overlay} {
		dst := Image{Path: filepath.Join(dir, fmt.Sprintf("copy%d", i)), Format: Raw}
		if err := tool.Convert(t.Context(), src, dst, ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		wantContent(t, dst.Path, hostile)
		if same, err := tool.Compare(t.Context(), src, dst); err != nil || !same {
			t.Fatalf("the copy is the same: %v, %v", same, err)
		}
	}
	if err := tool.Resize(t.Context(), raw, ResizeOptions{Size: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	wantContent(t, raw.Path, hostile)
}

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume"
)

const examined = "155a8574f06542f1ac2fbe8790b35160"

// craft makes a pool of files, and of directories where the content is "/".
func craft(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if content == "/" {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func metaOf(format string, size int) string {
	return fmt.Sprintf(`{"creatorID":%q,"name":"v","format":%q,"size":%d}`, examined, format, size)
}

func TestExamine(t *testing.T) {
	const vid = "vid." + examined + ".elimg"
	image := strings.Repeat("x", 1024)
	base := strings.Repeat("a", 64) + ".img"
	tests := map[string]struct {
		files   map[string]string
		want    string // "severity path: part of what", "" for no finding
		volumes int
	}{
		"nothing":          {nil, "", 0},
		"a whole volume":   {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image}, "", 1},
		"an older one":     {map[string]string{vid + "/meta.json": metaOf("raw", 0), vid + "/data.img": image}, "", 1},
		"one in the bin":   {map[string]string{binName + "/" + vid + "/meta.json": metaOf("raw", 1024), binName + "/" + vid + "/data.img": image, binName + "/" + vid + "/.deleted": `{}`}, "", 1},
		"half made":        {map[string]string{".vid." + examined + ".elimg.new/data.img": image}, "warning .vid." + examined + ".elimg.new: half made", 0},
		"half purged":      {map[string]string{binName + "/.purge." + examined + "/data.img": image}, "warning elemento-bin/.purge." + examined + ": removed", 0},
		"a stale lock":     {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image, vid + "/elemento.resize.1.ignore": `{}`}, "warning " + vid + "/elemento.resize.1.ignore: stale lock", 1},
		"a left file":      {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image, vid + "/.tmp-x": ""}, "warning " + vid + "/.tmp-x: temporary", 1},
		"sizes disagree":   {map[string]string{vid + "/meta.json": metaOf("raw", 2048), vid + "/data.img": image}, "warning " + vid + ": 2048", 1},
		"no image":         {map[string]string{vid + "/meta.json": metaOf("raw", 1024)}, "problem " + vid + ": missing", 1},
		"truncated meta":   {map[string]string{vid + "/meta.json": `{"creat`, vid + "/data.img": image}, "problem " + vid + ": damaged", 1},
		"not an image":     {map[string]string{vid + "/meta.json": metaOf("qcow2", 1024), vid + "/data.qcow2": image}, "problem " + vid + ": damaged", 1},
		"no meta":          {map[string]string{vid + "/data.img": image}, "note " + vid + ": no meta.json", 0},
		"a second image":   {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image, vid + "/data.qcow2": image}, "note " + vid + "/data.qcow2: nobody reads", 1},
		"an upload":        {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image, vid + "/upload.part": "abc"}, "note " + vid + "/upload.part: 3 bytes", 1},
		"an unused base":   {map[string]string{baseName + "/" + base: image}, "warning elemento-base/" + base + ": no volume needs", 0},
		"a strange base":   {map[string]string{baseName + "/x": image}, "note elemento-base/x: not a base", 0},
		"a strange name":   {map[string]string{"vid.X.elimg/meta.json": metaOf("raw", 1)}, "note vid.X.elimg: not a volume", 0},
		"foreign files":    {map[string]string{"lost+found": "/", "settings.json": "{}", "README": "x"}, "", 0},
		"cut off deletion": {map[string]string{vid + "/meta.json": metaOf("raw", 1024), vid + "/data.img": image, vid + "/.deleted": "{}"}, "warning " + vid + ": bin", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := craft(t, tt.files)
			before := listing(t, dir)
			r, err := Examine(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.Volumes != tt.volumes {
				t.Errorf("%d volumes, want %d", r.Volumes, tt.volumes)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("it changed the pool from\n%s to\n%s", before, after)
			}
			if tt.want == "" {
				if len(r.Findings) != 0 {
					t.Errorf("findings %+v", r.Findings)
				}
				return
			}
			head, what, _ := strings.Cut(tt.want, ": ")
			if len(r.Findings) != 1 || string(r.Findings[0].Severity)+" "+r.Findings[0].Path != head || !strings.Contains(r.Findings[0].What, what) {
				t.Errorf("findings %+v, want %q", r.Findings, tt.want)
			}
		})
	}
	if _, err := Examine(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// listing names all files and their sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExamineSeesWhoIsAtWork(t *testing.T) {
	dir := craft(t, nil)
	b, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Scan(t.Context(), func(volume.Found) error { return nil }); err != nil {
		t.Fatal(err)
	}
	id := volume.NewID()
	st, err := b.Stage(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	one := func(severity Severity, what string) {
		t.Helper()
		r, err := Examine(dir)
		if err != nil || len(r.Findings) != 1 || r.Findings[0].Severity != severity || !strings.Contains(r.Findings[0].What, what) {
			t.Errorf("%+v, %v; want %s %q", r.Findings, err, severity, what)
		}
	}
	one(Note, "being made")
	m := volume.Meta{Name: "v", Format: volume.Raw, Alg: volume.Copy, Bus: volume.Virtio, Size: 512}
	m.Creator, _ = volume.ParseClient(examined)
	if m, err = st.Fill(t.Context(), m, volume.Content{}); err == nil {
		err = st.Commit(context.WithoutCancel(t.Context()), m)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.Lock(t.Context(), id, volume.Operation{Purpose: "resize"})
	if err != nil {
		t.Fatal(err)
	}
	one(Note, "locked by resize")
	h.Unlock()
	if r, err := Examine(dir); err != nil || len(r.Findings) != 0 {
		t.Errorf("%+v, %v", r.Findings, err)
	}
}

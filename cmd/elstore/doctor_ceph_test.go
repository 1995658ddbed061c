package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/rbdmodel"
	"elstore/volume"
	"elstore/volume/file"
	"elstore/volume/rbd"
)

// volumeOnCeph makes the directory of a volume whose image is what data says.
func volumeOnCeph(t *testing.T, pool string, id volume.ID, data string) {
	t.Helper()
	dir := filepath.Join(pool, "vid."+id.String()+".elimg")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data.rbd"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorComparesWithTheCluster(t *testing.T) {
	store := rbd.NewStore(rbd.Config{Pool: "volumes"}, rbdmodel.New().Client(nil))
	defer store.Close()
	pool := t.TempDir()
	places := map[string]string{}
	make := func(name string, image, dir bool) (ref []byte) {
		id := volume.NewID()
		places[name] = "vid." + id.String() + ".elimg"
		called, ref := store.New(id)
		if image {
			if err := store.Create(called, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if dir {
			volumeOnCeph(t, pool, id, string(ref))
		}
		return ref
	}
	sound := make("sound", true, true)
	make("no image", false, true)
	make("no directory", true, false)
	copied := volume.NewID()
	volumeOnCeph(t, filepath.Join(pool, "elemento-bin"), copied, string(sound))
	places["copied"] = filepath.Join("elemento-bin", "vid."+copied.String()+".elimg")
	foreign := volume.NewID()
	volumeOnCeph(t, pool, foreign, string(rbd.Ref{Cluster: "x", Pool: "volumes", Image: "i"}.Encode()))
	places["foreign"] = "vid." + foreign.String() + ".elimg"
	images, err := store.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	var d diagnosis
	d.compare(pool, images, store)
	want := map[string]string{
		places["no image"]: "is not on the Ceph cluster", places["no directory"]: "no volume of this pool names it",
		places["copied"]: "is that of " + places["sound"], places["foreign"]: "cluster x",
	}
	for _, f := range d.Findings {
		if f.Severity != file.Problem || want[f.Path] == "" || !strings.Contains(f.What, want[f.Path]) || f.Cure == "" {
			t.Errorf("found %+v", f)
		}
		delete(want, f.Path)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}

	// What is adopted as the cure says is a volume.
	adopted := places["no directory"]
	var ref rbd.Ref
	if err := json.Unmarshal(sound, &ref); err != nil {
		t.Fatal(err)
	}
	for image := range images {
		if id, _ := rbd.VolumeOf(image); strings.Contains(adopted, id.String()) {
			ref.Image = image
			volumeOnCeph(t, pool, id, string(ref.Encode()))
			meta := `{"creatorID": "00000000000000000000000000000001", "name": "adopted", "format": "rbd", "size": 1048576}`
			if err := os.WriteFile(filepath.Join(pool, adopted, "meta.json"), []byte(meta), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := file.Open(t.Context(), file.Config{Dir: pool, Images: store})
			if err != nil {
				t.Fatal(err)
			}
			if f, err := b.Load(t.Context(), id); err != nil || f.Problem != nil || f.Meta.Size != 1<<20 {
				t.Errorf("adopted it is %+v, %v", f, err)
			}
		}
	}
}

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"elstore/test/rig"
)

const (
	megabyte = 2000 * 512 // whole sectors, so that no size is rounded
	client   = "00000000000000000000000000000001"
	fullest  = 6 // volumes a worker has at most
)

// load is what all workers share.
type load struct {
	server *rig.Server
	refs   string           // directory of reference files, and of images to import
	sizes  map[string]int64 // bytes of each reference file
	images []struct{ file, content string }
}

// run makes changes until the server is gone.
func (l *load) run(ctx context.Context, w *worker, random *rand.Rand) error {
	steps := []func(context.Context, *worker, *rand.Rand) (bool, error){
		l.create, l.create, l.upload, l.resize, l.convert, l.clone, l.importImage, l.destroy, l.restore, l.rename,
	}
	for {
		alive, err := steps[random.IntN(len(steps))](ctx, w, random)
		if err != nil || !alive {
			return err
		}
	}
}

// post sends a change. answered is false when the server died over it; then the change stays in doubt.
func (l *load) post(ctx context.Context, w *worker, path string, body, into any) (answered bool, err error) {
	a, err := l.server.Post(ctx, path, body)
	return l.judge(w, path, a, err, into)
}

func (l *load) judge(w *worker, path string, a rig.Answer, err error, into any) (bool, error) {
	if err != nil {
		return false, nil //nolint:nilerr // the server died over it, which is what this test is for
	}
	if a.Status != http.StatusOK {
		w.settle()
		return true, fmt.Errorf("%s: %d %s", path, a.Status, a.Body)
	}
	if into != nil {
		if err := json.Unmarshal(a.Body, into); err != nil {
			return true, err
		}
	}
	return true, nil
}

type created struct {
	VID string `json:"vid"`
}

func gigabytes(size int64) float64 { return float64(size) / 1e9 }

func (l *load) create(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	if w.crowded() {
		return l.destroy(ctx, w, random)
	}
	d := disk{Name: w.name(), Format: pickOne(random, "raw", "qcow2"), Size: int64(4+4*random.IntN(3)) * megabyte}
	w.made = &d
	var got created
	ok, err := l.post(ctx, w, "/create", map[string]any{
		"creatorID": client, "name": d.Name, "size": gigabytes(d.Size), "format": d.Format,
		"preallocation": pickOne(random, "off", "off", "metadata", "falloc"),
	}, &got)
	if ok && err == nil {
		w.acknowledged(got.VID, d)
	}
	return ok, err
}

func (w *worker) crowded() bool {
	n := 0
	for _, d := range w.disks {
		if !d.Gone {
			n++
		}
	}
	return n >= fullest
}

func pickOne(random *rand.Rand, of ...string) string { return of[random.IntN(len(of))] }

func standing(d disk) bool { return !d.Bin }

// change posts something that makes one volume different.
func (l *load) change(ctx context.Context, w *worker, id string, to disk, path string, body map[string]any) (bool, error) {
	w.doubtID, w.doubt = id, &to
	ok, err := l.post(ctx, w, path, body, nil)
	if ok && err == nil {
		w.acknowledged(id, to)
	}
	return ok, err
}

func (l *load) upload(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, standing)
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	to.Content = pickOne(random, "a.img", "b.img")
	if l.sizes[to.Content] > to.Size {
		return true, nil
	}
	data, err := os.ReadFile(filepath.Join(l.refs, to.Content))
	if err != nil {
		return true, err
	}
	w.doubtID, w.doubt = id, &to
	a, err := l.server.Do(ctx, http.MethodPut, "/volumes/"+id+"/data", bytes.NewReader(data), nil)
	ok, err = l.judge(w, "upload", a, err, nil)
	if ok && err == nil {
		w.acknowledged(id, to)
	}
	return ok, err
}

func (l *load) resize(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, standing)
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	if to.Size += 4 * megabyte; to.Size > 32*megabyte {
		if to.Size = 4 * megabyte; l.sizes[to.Content] > to.Size {
			return true, nil
		}
	}
	return l.change(ctx, w, id, to, "/update/resize", map[string]any{
		"vid": id, "creatorID": client, "size": gigabytes(to.Size), "shrink": true,
	})
}

func (l *load) convert(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, standing)
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	to.Format = map[string]string{"raw": "qcow2", "qcow2": "raw"}[to.Format]
	return l.change(ctx, w, id, to, "/update/convert", map[string]any{"vid": id, "creatorID": client, "format": to.Format})
}

func (l *load) clone(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, standing)
	if !ok || w.crowded() {
		return true, nil
	}
	d := w.disks[id]
	d.Name = w.name()
	w.made = &d
	var got created
	ok, err := l.post(ctx, w, "/clone", map[string]any{"volume_id": id, "creatorID": client, "name": d.Name}, &got)
	if ok && err == nil {
		w.acknowledged(got.VID, d)
	}
	return ok, err
}

func (l *load) importImage(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	if w.crowded() {
		return true, nil
	}
	image := l.images[random.IntN(len(l.images))]
	d := disk{Name: w.name(), Format: pickOne(random, "raw", "qcow2"), Size: l.sizes[image.content], Content: image.content}
	body := map[string]any{"creatorID": client, "name": d.Name, "format": d.Format, "path": filepath.Join(l.refs, image.file)}
	if d.Format == "qcow2" && random.IntN(2) == 0 {
		body["overlay"] = true
	}
	w.made = &d
	var got created
	ok, err := l.post(ctx, w, "/import", body, &got)
	if ok && err == nil {
		w.acknowledged(got.VID, d)
	}
	return ok, err
}

func (l *load) destroy(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	purge := random.IntN(3) > 0
	id, ok := w.pick(random.IntN, func(d disk) bool { return purge || !d.Bin })
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	to.Bin, to.Gone = !purge, purge
	return l.change(ctx, w, id, to, "/destroy", map[string]any{"volume_id": id, "purge": purge})
}

func (l *load) restore(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, func(d disk) bool { return d.Bin })
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	to.Bin = false
	return l.change(ctx, w, id, to, "/trash/restore", map[string]any{"volume_id": id})
}

func (l *load) rename(ctx context.Context, w *worker, random *rand.Rand) (bool, error) {
	id, ok := w.pick(random.IntN, standing)
	if !ok {
		return true, nil
	}
	to := w.disks[id]
	to.Name = w.name()
	return l.change(ctx, w, id, to, "/update", map[string]any{"vid": id, "creatorID": client, "name": to.Name})
}

// references makes the reference files and the images to import of them.
func references(t *testing.T, dir string) *load {
	t.Helper()
	l := &load{refs: dir, sizes: map[string]int64{}}
	for i, name := range []string{"a.img", "b.img"} {
		data := make([]byte, 3*megabyte+512*(i+1)-(3*megabyte)%512)
		random := rand.NewChaCha8([32]byte{byte(i + 1)})
		_, _ = random.Read(data[:megabyte])
		_, _ = random.Read(data[2*megabyte:])
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		l.sizes[name] = int64(len(data))
		for _, format := range []string{"qcow2", "vmdk"} {
			file := name + "." + format
			qemuImg(t, "convert", "-f", "raw", "-O", format, filepath.Join(dir, name), filepath.Join(dir, file))
			l.images = append(l.images, struct{ file, content string }{file, name})
		}
		l.images = append(l.images, struct{ file, content string }{name, name})
	}
	return l
}

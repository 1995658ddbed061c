package file

import (
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/volume"
)

// TestOrder holds the changes to the order in which they must reach the disk: content first, then the name or the record
// that counts, then what undoes the old.
func TestOrder(t *testing.T) {
	tool := newTool(t)
	tests := []struct {
		name   string
		format volume.Format
		do     func(t *testing.T, b *Backend, id volume.ID, m volume.Meta)
		want   []string // in this order, with anything in between
	}{
		{"create", volume.Raw, func(t *testing.T, b *Backend, _ volume.ID, m volume.Meta) {
			create(t, b, m, volume.Content{})
		}, []string{"truncate data.img", "fsync data.img", "replace meta.json", "rename .vid.", "renamed vid."}},
		{"grow", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Resize(t.Context(), m, 2*m.Size, false, "") })
		}, []string{"note elemento.resize.", "truncate data.img", "fsync data.img", "replace meta.json", "remove elemento.resize."}},
		{"grow with room", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Resize(t.Context(), m, 2*m.Size, false, volume.PreallocFalloc) })
		}, []string{"reserve room for data.img", "truncate data.img", "fsync data.img", "replace meta.json"}},
		{"shrink", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Resize(t.Context(), m, m.Size/2, true, "") })
		}, []string{"note elemento.resize.", "replace meta.json", "truncate data.img", "fsync data.img", "remove elemento.resize."}},
		{"grow qcow2", volume.QCOW2, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Resize(t.Context(), m, 2*m.Size, false, "") })
		}, []string{"note elemento.resize.", "qemu-img resize", "replace meta.json", "remove elemento.resize."}},
		{"convert", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Convert(t.Context(), m, volume.QCOW2, nil) })
		}, []string{"note elemento.convert.", "qemu-img convert data.qcow2", "sync .", "replace meta.json", "remove data.img", "remove elemento.convert."}},
		{"replace", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, m volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _, _ = h.Replace(t.Context(), m, volume.Content{}) })
		}, []string{"note elemento.replace.", "create .tmp-", "fsync .tmp-", "exchange data.img", "remove .tmp-", "remove elemento.replace."}},
		{"overlay", volume.Raw, func(t *testing.T, b *Backend, _ volume.ID, m volume.Meta) {
			source := t.TempDir() + "/source"
			put(t, strings.Repeat("x", 512), source)
			m.Format = volume.QCOW2
			create(t, b, m, volume.Content{From: &volume.Image{Path: source, Format: "raw", Size: 512}, Overlay: true})
		}, []string{"fsync .tmp-", "chmod .tmp-", "fsync .tmp-", "link ", "sync .", "qemu-img create", "replace meta.json", "rename .vid."}},
		{"trash", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, _ volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _ = h.Trash(t.Context(), time.Now()) })
		}, []string{"mkdir elemento-bin", "sync .", "replace .deleted", "rename vid."}},
		{"purge", volume.Raw, func(t *testing.T, b *Backend, id volume.ID, _ volume.Meta) {
			locked(t, b, id, func(h volume.Held) { _ = h.Purge(t.Context()) })
		}, []string{"rename vid.", "remove all .purge."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var steps []string
			cfg := Config{Dir: t.TempDir(), Tool: tool}
			b := openPool(t, cfg.Stepped(func(op, name string) error {
				mu.Lock()
				defer mu.Unlock()
				steps = append(steps, op+" "+name[strings.LastIndexByte(name, '/')+1:])
				return nil
			}))
			id, m := create(t, b, meta(tt.format, 1<<20), volume.Content{})
			steps = nil
			tt.do(t, b, id, m)
			rest := steps
			for _, want := range tt.want {
				at := 0
				for at < len(rest) && !strings.HasPrefix(rest[at], want) {
					at++
				}
				if at == len(rest) {
					t.Fatalf("%q does not come in its turn in\n%s", want, strings.Join(steps, "\n"))
				}
				rest = rest[at+1:]
			}
		})
	}
}

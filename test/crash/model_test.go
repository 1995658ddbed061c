package crash

import (
	"fmt"
	"maps"
	"slices"
)

// disk is what a volume was said to be when its last change was acknowledged.
type disk struct {
	Name    string
	Format  string
	Size    int64
	Content string // the reference file whose bytes it begins with, zeros after them
	Bin     bool   // in the bin
	Gone    bool   // purged
}

// worker drives the volumes that it made, one call at a time, so that at most one change is in doubt when the server dies.
type worker struct {
	n     int
	count int             // of names given so far
	disks map[string]disk // by id

	// The change that was not answered. doubt is what its volume may also be; made is the volume that it may have made.
	doubtID string
	doubt   *disk
	made    *disk
	touched map[string]bool // ids changed since the last check
}

func newWorker(n int) *worker {
	return &worker{n: n, disks: map[string]disk{}, touched: map[string]bool{}}
}

func (w *worker) name() string {
	w.count++
	return fmt.Sprintf("w%d-%d", w.n, w.count)
}

// pick returns the id of a volume that fits, in a stable order so that a seed repeats a run.
func (w *worker) pick(random func(int) int, fits func(disk) bool) (string, bool) {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(w.disks)) {
		if d := w.disks[id]; !d.Gone && fits(d) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", false
	}
	return ids[random(len(ids))], true
}

// acknowledged takes over the change in doubt.
func (w *worker) acknowledged(id string, d disk) {
	w.disks[id] = d
	w.touched[id] = true
	w.settle()
}

func (w *worker) settle() { w.doubtID, w.doubt, w.made = "", nil, nil }

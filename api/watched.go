package api

import (
	"os"
	"slices"
	"sync"
	"time"
)

// lookInterval is how often handshakes and requests look whether files changed.
const lookInterval = time.Second

// watched are files that are read again when they change. Its methods may be called at the same time.
type watched struct {
	files []string

	mu     sync.Mutex // over looking
	looked time.Time
	seen   []stamp // of the files when they were last read
}

// stamp tells a file from what it was before.
type stamp struct {
	modified time.Time
	size     int64
}

// watch returns watched files as they are before they are read first. Those without a name are left out.
func watch(files ...string) *watched {
	files = slices.DeleteFunc(files, func(name string) bool { return name == "" })
	return &watched{files: files, looked: time.Now(), seen: stampsOf(files)}
}

// look calls changed if the files did, at most once in lookInterval. Several can't be replaced in one moment, so files that
// don't fit each other may be half of a change: the other half is seen when it comes.
func (w *watched) look(changed func()) {
	if !w.mu.TryLock() {
		return // who comes while another looks takes what there is
	}
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.looked) < lookInterval {
		return
	}
	w.looked = now
	at := stampsOf(w.files)
	if slices.Equal(at, w.seen) {
		return
	}
	w.seen = at
	changed()
}

func stampsOf(files []string) []stamp {
	stamps := make([]stamp, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil { // what is missing has no stamp; loading says so
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

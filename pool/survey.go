package pool

import (
	"fmt"
	"os"
	"path/filepath"
)

// Surveyed is a directory that is a pool, as it lies below a root, whether anybody uses it or not.
type Surveyed struct {
	Path     string // absolute
	Settings Settings
	Problem  error // why its settings.json is not valid, or nil
}

// Survey looks for pools below a root without using or changing anything.
func Survey(root string) ([]Surveyed, []NotPool, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	s := discover(dir, &asking{answered: func() {}, silent: map[string]bool{}})
	pools := make([]Surveyed, len(s.pools))
	for i, c := range s.pools {
		pools[i] = Surveyed{Path: filepath.Join(root, c.rel), Settings: c.settings, Problem: c.err}
	}
	return pools, s.notPools, nil
}

// Over says which limits volumes of that number and bytes, with base images, exceed; "" is none.
func (l Limits) Over(volumes int, bytes int64) string {
	switch {
	case l.Volumes != Unlimited && int64(volumes) > l.Volumes:
		return fmt.Sprintf("%d volumes are over max-volumes %d", volumes, l.Volumes)
	case l.TotalSize != Unlimited && bytes > l.TotalSize:
		return fmt.Sprintf("%d bytes are over max-total-size %s", bytes, formatSize(l.TotalSize))
	}
	return ""
}

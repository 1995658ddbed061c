package crash

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const workers = 6

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %q: %v\n%s", args, err, out)
	}
}

// TestKill kills the server again and again under a mix of every change there is.
func TestKill(t *testing.T) {
	need.Program(t, "qemu-img")
	crashes := int(fromEnvironment(t, "CRASHES", 300))
	seed := fromEnvironment(t, "CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("CRASH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	root, refs := t.TempDir(), t.TempDir()
	l := references(t, refs)
	pools := []string{
		rig.Pool(t, root, "one", `{"max-volumes": 40, "max-volume-size": "100M", "max-total-size": "2G"}`),
		rig.Pool(t, root, "two", `{"max-volumes": 40, "max-volume-size": "100M", "max-total-size": "2G"}`),
	}
	all := make([]*worker, workers)
	for i := range all {
		all[i] = newWorker(i)
	}
	for i := range crashes {
		l.server = rig.Start(t, root, "--import-dir", refs)
		check(t, l, all, pools, i == 0)
		if t.Failed() {
			t.Fatalf("after %d crashes", i)
		}
		var wg sync.WaitGroup
		for _, w := range all {
			own := rand.New(rand.NewPCG(random.Uint64(), 1))
			wg.Go(func() {
				if err := l.run(t.Context(), w, own); err != nil {
					t.Error(err)
					l.server.Kill()
				}
			})
		}
		moment := time.NewTimer(time.Duration(random.IntN(400)) * time.Millisecond)
		<-moment.C
		l.server.Kill()
		wg.Wait()
		if random.IntN(5) == 0 { // and once more in the middle of the recovery
			again := rig.Launch(t, root, "--import-dir", refs)
			moment.Reset(time.Duration(random.IntN(40)) * time.Millisecond)
			<-moment.C
			again.Kill()
		}
	}
	l.server = rig.Start(t, root, "--import-dir", refs)
	check(t, l, all, pools, true)
	if err := l.server.Stop(); err != nil {
		t.Error(err)
	}
}

type record struct {
	VolumeID string `json:"volumeID"`
	Name     string `json:"name"`
	Format   string `json:"format"`
	Size     int64  `json:"size"`
	Pool     string `json:"pool"`
	Locked   bool   `json:"locked"`
}

// check holds what is there against what was acknowledged. Images are read where they may have changed, or with whole all.
func check(t *testing.T, l *load, all []*worker, pools []string, whole bool) {
	t.Helper()
	there := list(t, l.server, "/accessible")
	bin := list(t, l.server, "/trash")
	for _, w := range all {
		w.resolve(t, there, bin)
		for id, d := range w.disks {
			r, standing := there[id]
			b, trashed := bin[id]
			delete(there, id)
			delete(bin, id)
			if d.Bin {
				r = b
			}
			switch {
			case d.Gone && (standing || trashed):
				t.Errorf("%s was purged and is there: %+v", id, d)
			case !d.Gone && (standing == d.Bin || trashed != d.Bin):
				t.Errorf("%s is lost, or where it should not be (standing %t, in the bin %t): %+v", id, standing, trashed, d)
			case !d.Gone && (r.Name != d.Name || r.Format != d.Format || r.Size != d.Size):
				t.Errorf("%s is %+v and was acknowledged as %+v", id, r, d)
			case !d.Gone && !d.Bin && (whole || w.touched[id]):
				checkImage(t, l, r, d, pools)
			}
			if d.Gone {
				delete(w.disks, id)
			}
		}
		clear(w.touched)
	}
	for id, r := range there {
		t.Errorf("%s is there and nobody made it: %+v", id, r)
	}
	for id, r := range bin {
		t.Errorf("%s is in the bin and nobody put it there: %+v", id, r)
	}
	checkPools(t, l.server, pools)
}

// resolve learns how the change in doubt ended: either way is right.
func (w *worker) resolve(t *testing.T, there, bin map[string]record) {
	t.Helper()
	defer w.settle()
	if w.made != nil {
		for id, r := range there {
			if r.Name == w.made.Name {
				if _, known := w.disks[id]; known {
					t.Errorf("%s has the name of a volume in the making", id)
				}
				w.disks[id] = *w.made
				w.touched[id] = true
			}
		}
	}
	if w.doubt == nil {
		return
	}
	w.touched[w.doubtID] = true
	r, standing := there[w.doubtID]
	b, trashed := bin[w.doubtID]
	now, after := w.disks[w.doubtID], *w.doubt
	switch {
	case after.Gone != now.Gone:
		if !standing && !trashed {
			w.disks[w.doubtID] = after
		}
	case after.Bin != now.Bin:
		if trashed == after.Bin {
			w.disks[w.doubtID] = after
		}
	case after.Content != now.Content: // an upload: only the bytes tell
		after.Content = now.Content + "|" + after.Content
		w.disks[w.doubtID] = after
	default:
		if trashed {
			r = b
		}
		if r.Name == after.Name && r.Format == after.Format && r.Size == after.Size {
			w.disks[w.doubtID] = after
		}
	}
}

// checkImage reads the volume's image and compares it.
func checkImage(t *testing.T, l *load, r record, d disk, pools []string) {
	t.Helper()
	ext := map[string]string{"raw": "img", "qcow2": "qcow2"}[r.Format]
	var file string
	for _, pool := range pools {
		if path := filepath.Join(pool, "vid."+r.VolumeID+".elimg", "data."+ext); filepath.Base(pool) == r.Pool {
			file = path
		}
	}
	if r.Format == "qcow2" {
		if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", file).CombinedOutput(); err != nil {
			t.Errorf("%+v: qemu-img check: %v\n%s", d, err, out)
		}
	}
	var said []string
	for content := range strings.SplitSeq(d.Content, "|") {
		ref := filepath.Join(l.refs, content)
		if content == "" {
			ref = filepath.Join(t.TempDir(), "zeros")
			if f, err := os.Create(ref); err != nil || f.Truncate(megabyte) != nil || f.Close() != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("qemu-img", "compare", "-f", r.Format, "-F", "raw", file, ref).CombinedOutput()
		if err == nil {
			return
		}
		said = append(said, fmt.Sprintf("%q: %v %s", content, err, out))
	}
	t.Errorf("%s, %+v, does not hold what was acknowledged:\n%s", r.VolumeID, d, strings.Join(said, ""))
}

func list(t *testing.T, s *rig.Server, path string) map[string]record {
	t.Helper()
	a, err := s.Post(t.Context(), path, map[string]any{"client_uid": client})
	if err != nil || a.Status != 200 {
		t.Fatalf("%s: %d %s %v", path, a.Status, a.Body, err)
	}
	var records []record
	a.Into(t, &records)
	all := map[string]record{}
	for _, r := range records {
		if r.Locked {
			t.Errorf("%s is locked after a restart", r.VolumeID)
		}
		all[r.VolumeID] = r
	}
	return all
}

// checkPools holds the limits' account against the directories, and looks for what a crash left.
func checkPools(t *testing.T, s *rig.Server, pools []string) {
	t.Helper()
	a, err := s.Do(t.Context(), "GET", "/pools", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var infos []struct {
		Name  string `json:"name"`
		Valid bool   `json:"valid"`
		Used  struct {
			Volumes int   `json:"volumes"`
			Bytes   int64 `json:"bytes"`
			Base    int64 `json:"base"`
		} `json:"used"`
	}
	a.Into(t, &infos)
	byName := map[string]int{}
	for i, info := range infos {
		byName[info.Name] = i
	}
	for _, pool := range pools {
		var volumes int
		var bytes, base int64
		err := filepath.WalkDir(pool, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			switch name := d.Name(); {
			case d.IsDir() && strings.HasPrefix(name, "vid."):
				volumes++
				data, err := os.ReadFile(filepath.Join(path, "meta.json"))
				if err != nil {
					return err
				}
				var meta struct{ Size int64 }
				if err := json.Unmarshal(data, &meta); err != nil {
					return err
				}
				bytes += meta.Size
			case filepath.Base(filepath.Dir(path)) == "elemento-base":
				info, err := d.Info()
				if err != nil {
					return err
				}
				base += info.Size()
			case strings.HasSuffix(name, ".ignore"), strings.HasPrefix(name, ".tmp-"), strings.HasPrefix(name, ".vid."),
				strings.HasPrefix(name, ".purge."), strings.HasSuffix(name, ".new"):
				t.Errorf("a crash left %s", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		info := infos[byName[filepath.Base(pool)]]
		if !info.Valid || info.Used.Volumes != volumes || info.Used.Base != base || info.Used.Bytes != bytes+base {
			t.Errorf("pool %+v, and its directory has %d volumes of %d bytes on bases of %d", info, volumes, bytes, base)
		}
	}
}

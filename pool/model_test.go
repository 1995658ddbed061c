package pool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

// model is what pools hold, kept in the simplest way.
type model struct {
	limits map[string]Limits
	use    map[string]volume.Usage
	base   map[string]int64
	open   []promise
}

// promise is a reservation that is not used yet.
type promise struct {
	volume.Reservation
	want volume.Want
}

// held sums up what is used and reserved in a pool.
func (m *model) held(pool string) (volumes, bytes int64) {
	volumes, bytes = int64(m.use[pool].Volumes), m.use[pool].Bytes+m.base[pool]
	for _, p := range m.open {
		if p.Pool() == pool {
			volumes, bytes = volumes+int64(p.want.Volumes), bytes+p.want.Bytes
		}
	}
	return volumes, bytes
}

// takes reports whether a want fits a pool.
func (m *model) takes(pool string, w volume.Want) bool {
	l := m.limits[pool]
	volumes, bytes := m.held(pool)
	return (w.Pool == "" || w.Pool == pool) && w.Size <= l.VolumeSize &&
		volumes+int64(w.Volumes) <= l.Volumes && bytes+w.Bytes <= l.TotalSize
}

// TestModel does random things and compares with the model after each, with pools of one server and shared by two.
func TestModel(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("the seed is %d", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			m := &model{limits: map[string]Limits{}, use: map[string]volume.Usage{}, base: map[string]int64{}}
			files := map[string]string{}
			names := []string{"a", "b", "c"}
			for _, name := range names {
				l := Limits{1 + r.Int64N(20), (1 + r.Int64N(10)) * gb, r.Int64N(60) * gb}
				m.limits[name] = l
				files[name+"/"+SettingsFile] = fmt.Sprintf(`{"max-volumes": %d, "max-volume-size": %d, "max-total-size": %d, "shared": %t}`,
					l.Volumes, l.VolumeSize, l.TotalSize, shared)
			}
			root := tree(t, files)
			sets := []*world{open(t, root, nil, as("one"))}
			steps := 3000
			if shared {
				sets, steps = append(sets, open(t, root, nil, as("two"))), 300
			}
			for range steps {
				m.step(t, r, names, sets)
				m.compare(t, names, sets)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// step does one random thing on one of the Sets. Whatever changes the use is observed by the others.
func (m *model) step(t *testing.T, r *rand.Rand, names []string, sets []*world) {
	t.Helper()
	s := r.IntN(len(sets))
	name := names[r.IntN(len(names))]
	change := func(pool string, c volume.Usage) {
		u := m.use[pool]
		m.use[pool] = volume.Usage{
			Volumes: u.Volumes + c.Volumes, Bytes: u.Bytes + c.Bytes,
			BinVolumes: u.BinVolumes + c.BinVolumes, BinBytes: u.BinBytes + c.BinBytes,
		}
		for i, w := range sets {
			if i != s {
				w.get(pool).Observe(c)
			}
		}
	}
	account := func(c volume.Usage) {
		sets[s].get(name).Account(c)
		change(name, c)
	}
	switch use := m.use[name]; r.IntN(8) {
	case 0, 1, 2: // reserve
		m.reserve(t, r, names, sets[s])
	case 3, 4: // keep or release
		if len(m.open) == 0 {
			return
		}
		i := r.IntN(len(m.open))
		p := m.open[i]
		m.open = slices.Delete(m.open, i, i+1)
		if r.IntN(2) == 0 {
			p.Release()
			return
		}
		kept := r.Int64N(p.want.Bytes + 1)
		s = slices.IndexFunc(sets, func(w *world) bool { return w.Set == p.Reservation.(*reservation).pool.set })
		p.Keep(p.want.Volumes, kept)
		change(p.Pool(), volume.Usage{Volumes: p.want.Volumes, Bytes: kept})
	case 5: // into the bin
		if use.Volumes > use.BinVolumes {
			account(volume.Usage{BinVolumes: 1, BinBytes: (use.Bytes - use.BinBytes) / 2})
		}
	case 6: // purge
		if use.BinVolumes > 0 {
			b := use.BinBytes / int64(use.BinVolumes)
			account(volume.Usage{Volumes: -1, Bytes: -b, BinVolumes: -1, BinBytes: -b})
		}
	case 7: // base images, which only the first server brings and takes
		m.base[name] = r.Int64N(5) * gb
		sets[0].get(name).SetBase(m.base[name])
	}
}

// reserve asks for a few volumes, and wants them if and, for one, only if the model has room.
func (m *model) reserve(t *testing.T, r *rand.Rand, names []string, w *world) {
	t.Helper()
	var wants []volume.Want
	for range 1 + r.IntN(3) {
		want := one("", r.Int64N(8*gb))
		if r.IntN(3) == 0 {
			want.Pool = names[r.IntN(len(names))]
		}
		if r.IntN(4) == 0 {
			want.Volumes = 0
		}
		wants = append(wants, want)
	}
	fit, ferr := w.Fit(t.Context(), wants)
	list, err := w.Reserve(t.Context(), wants, nil)
	if err != nil && !fault.Is(err, fault.VolumeNotAllocable) || ferr != nil {
		t.Fatal(err, ferr)
	}
	if err == nil && !fit {
		t.Errorf("%+v don't fit and were given", wants)
	}
	if len(wants) == 1 {
		could := slices.ContainsFunc(names, func(name string) bool { return m.takes(name, wants[0]) })
		if could != (err == nil) {
			t.Errorf("%+v: the model takes it: %t, error %v", wants[0], could, err)
		}
	}
	for i, reservation := range list {
		if !m.takes(reservation.Pool(), wants[i]) && wants[i].Bytes > 0 && wants[i].Volumes > 0 {
			t.Errorf("%+v was put into %s, which has no room", wants[i], reservation.Pool())
		}
		m.open = append(m.open, promise{reservation, wants[i]})
	}
}

// compare fails unless every Set counts what the model does.
func (m *model) compare(t *testing.T, names []string, sets []*world) {
	t.Helper()
	for _, name := range names {
		volumes, bytes := m.held(name)
		for i, w := range sets {
			if w.get(name).shared != nil {
				if err := w.get(name).peek(); err != nil {
					t.Fatal(err)
				}
			}
			got := w.info(name)
			if got.Used.Volumes+got.Reserved.Volumes != volumes || got.Used.Bytes+got.Reserved.Bytes != bytes {
				t.Errorf("server %d has %+v and %+v reserved in %s, the model %d volumes and %d bytes in all", i, got.Used, got.Reserved, name, volumes, bytes)
			}
			if got.Bin.Volumes != m.use[name].BinVolumes || got.Bin.Bytes != m.use[name].BinBytes {
				t.Errorf("server %d has %+v in the bin of %s, the model %+v", i, got.Bin, name, m.use[name])
			}
		}
	}
}

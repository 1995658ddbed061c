package pool

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestManyReserveAtOnce(t *testing.T) {
	w := open(t, tree(t, map[string]string{SettingsFile: `{"max-volumes": 50}`}), nil)
	var wg sync.WaitGroup
	got := make(chan volume.Reservation, 64)
	for range cap(got) {
		wg.Go(func() {
			r, err := w.reserve("", gb)
			if err == nil {
				got <- r
			} else if !fault.Is(err, fault.VolumeNotAllocable) || !strings.Contains(err.Error(), "max-volumes is 50") {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if len(got) != 50 {
		t.Errorf("%d of %d got room, want 50", len(got), cap(got))
	}
	close(got)
	for r := range got {
		r.Keep(1, gb)
		r.Release()
	}
	name := w.Infos()[0].Name
	if i := w.info(name); i.Used != (InfoUse{Volumes: 50, Bytes: 50 * gb}) || i.Reserved != (InfoUse{}) {
		t.Errorf("used %+v, reserved %+v", i.Used, i.Reserved)
	}
}

func TestReserve(t *testing.T) {
	const huge = 1 << 49
	tests := []struct {
		name     string
		settings map[string]string
		there    volumes
		wants    []volume.Want
		chosen   string // pools with commas between them
		code     fault.Code
		says     string
	}{
		{"the roomiest", map[string]string{"a": `{"max-total-size": "5G"}`, "b": `{"max-total-size": "9G"}`, "c": `{"max-total-size": "7G"}`}, nil, []volume.Want{one("", gb)}, "b", "", ""},
		{
			"what is used counts",
			map[string]string{"a": `{"max-total-size": "5G"}`, "b": `{"max-total-size": "9G"}`},
			volumes{"b": {Volumes: 1, Bytes: 6 * gb}},
			[]volume.Want{one("", gb)},
			"a", "", "",
		},
		{"the named one", map[string]string{"a": `{"max-total-size": "5G"}`, "b": `{"max-total-size": "9G"}`}, nil, []volume.Want{one("a", gb)}, "a", "", ""},
		{"on a cluster the file system doesn't count", map[string]string{"a": `{"ceph": {"pool": "rbd"}, "reserve": "1Pi"}`}, nil, []volume.Want{{Volumes: 1, Bytes: gb, Write: huge}}, "a", "", ""},
		{"equals share", map[string]string{"a": `{}`, "b": `{}`}, nil, []volume.Want{one("", gb), one("", gb), one("", gb), one("", gb)}, "a,b,a,b", "", ""},
		{"exactly full", map[string]string{"a": `{"max-total-size": "2G", "max-volumes": 2, "max-volume-size": "1G"}`}, nil, []volume.Want{one("", gb), one("", gb)}, "a,a", "", ""},
		{"largest first", map[string]string{"a": `{"max-total-size": "5G"}`, "b": `{"max-total-size": "4G"}`}, nil, []volume.Want{one("", 2*gb), one("", 2*gb), one("", 5*gb)}, "b,b,a", "", ""},
		{"packed where spreading fails", map[string]string{"a": `{"max-total-size": "6G"}`, "b": `{"max-total-size": "4G"}`}, nil, []volume.Want{one("", 2*gb), one("", 2*gb), one("", 3*gb), one("", 3*gb)}, "b,b,a,a", "", ""},
		{"the named first", map[string]string{"a": `{"max-total-size": "6G"}`, "b": `{"max-total-size": "4G"}`}, nil, []volume.Want{one("", 4*gb), one("a", 3*gb)}, "b,a", "", ""},
		{"nothing is wanted", map[string]string{"a": `{}`}, nil, nil, "", "", ""},

		{"all or nothing", map[string]string{"a": `{"max-volumes": 2}`}, nil, []volume.Want{one("", gb), one("", gb), one("", gb)}, "", fault.VolumeNotAllocable, "a: max-volumes is 2, and room is left for 2"},
		{"too many", map[string]string{"a": `{"max-volumes": 1}`}, volumes{"a": {Volumes: 1}}, []volume.Want{one("", gb)}, "", fault.VolumeNotAllocable, "max-volumes is 1, and room is left for 0"},
		{"too large", map[string]string{"a": `{"max-volume-size": "1G"}`}, nil, []volume.Want{one("", gb+512)}, "", fault.VolumeNotAllocable, "max-volume-size is 1 GB"},
		{"too much", map[string]string{"a": `{"max-total-size": "3G"}`}, volumes{"a": {Volumes: 1, Bytes: 2 * gb}}, []volume.Want{one("", 2*gb)}, "", fault.VolumeNotAllocable, "of max-total-size 3 GB there are 1 GB left, and 2 GB are needed"},
		{"not on the file system", map[string]string{"a": `{}`}, nil, []volume.Want{{Volumes: 1, Size: gb, Bytes: gb, Write: huge}}, "", fault.VolumeNotAllocable, "to be written now"},
		{"reserve is left alone", map[string]string{"a": `{"reserve": "1Pi"}`}, nil, []volume.Want{{Volumes: 1, Write: 1}}, "", fault.VolumeNotAllocable, "has room for 0 bytes, and 1 bytes are to be written now"},
		{"thin takes nothing", map[string]string{"a": `{"reserve": "1Pi"}`}, nil, []volume.Want{one("", gb)}, "a", "", ""},
		{"no such format", map[string]string{"a": `{}`}, nil, []volume.Want{{Volumes: 1, Format: volume.RBD}}, "", fault.VolumeNotAllocable, "can't keep volumes of format rbd"},
		{"no such pool", map[string]string{"a": `{}`}, nil, []volume.Want{one("x", gb)}, "", fault.PoolNotFound, `"x"`},
		{"a pool that is not valid", map[string]string{"a": `{}`, "b": `{"max-volumes": -1}`}, nil, []volume.Want{one("b", gb)}, "", fault.PoolUnavailable, "max-volumes -1"},
		{"no valid pool", map[string]string{"a": `[]`}, nil, []volume.Want{one("", gb)}, "", fault.VolumeAvailablePathNotFound, "a: settings.json is not a JSON object"},
		{"no pool", nil, nil, []volume.Want{one("", gb)}, "", fault.VolumeAvailablePathNotFound, "no valid pool"},
		{"the named one is full", map[string]string{"a": `{"max-volumes": 0}`, "b": `{}`}, nil, []volume.Want{one("a", gb)}, "", fault.VolumeNotAllocable, "a: max-volumes is 0"},

		{"over its limits it grows no more", map[string]string{"a": `{"max-total-size": "1G"}`}, volumes{"a": {Volumes: 1, Bytes: 5 * gb}}, []volume.Want{{Pool: "a", Size: 5 * gb, Bytes: 1}}, "", fault.VolumeNotAllocable, "there are 0 bytes left"},
		{"over its limits it can be written", map[string]string{"a": `{"max-total-size": "1G", "max-volumes": 1, "max-volume-size": "1G"}`}, volumes{"a": {Volumes: 2, Bytes: 5 * gb}}, []volume.Want{{Pool: "a", Size: 5 * gb, Write: 1}}, "a", "", ""},
		{"over its number it grows", map[string]string{"a": `{"max-volumes": 1}`}, volumes{"a": {Volumes: 2, Bytes: 5 * gb}}, []volume.Want{{Pool: "a", Size: 5 * gb, Bytes: 1}}, "a", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for pool, text := range tt.settings {
				files[pool+"/"+SettingsFile] = text
			}
			w := open(t, tree(t, files), tt.there)
			list, err := w.Reserve(t.Context(), tt.wants, nil)
			if tt.code != "" {
				if !fault.Is(err, tt.code) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v (%s), want %s with %q", err, fault.CodeOf(err), tt.code, tt.says)
				}
				for _, i := range w.Infos() {
					if i.Reserved != (InfoUse{}) {
						t.Errorf("pool %s keeps a reservation: %+v", i.Name, i.Reserved)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, r := range list {
				names = append(names, r.Pool())
			}
			if got := strings.Join(names, ","); got != tt.chosen {
				t.Errorf("chose %s, want %s", got, tt.chosen)
			}
			if fit, err := w.Fit(t.Context(), nil); err != nil || !fit {
				t.Errorf("nothing doesn't fit: %v", err)
			}
			for _, r := range list {
				r.Release()
				r.Release()
			}
			for _, i := range w.Infos() {
				if i.Reserved != (InfoUse{}) {
					t.Errorf("pool %s keeps a reservation: %+v", i.Name, i.Reserved)
				}
			}
		})
	}
}

func TestWritesInFlight(t *testing.T) {
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}", "b/" + SettingsFile: "{}"}), nil)
	free := *w.info("a").Free
	part := free/2 + free/10 // two don't fit
	write := func(pool string) ([]volume.Reservation, error) {
		return w.Reserve(t.Context(), []volume.Want{{Pool: pool, Write: part}}, nil)
	}
	first, err := write("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := write("b"); !fault.Is(err, fault.VolumeNotAllocable) {
		t.Errorf("a pool on the same file system gave room that was promised: %v", err)
	}
	if n, err := w.Count(t.Context(), volume.Want{Write: part}); n != 0 || err != nil {
		t.Errorf("%d pools would, %v", n, err)
	}
	first[0].Keep(1, gb)
	second, err := write("b")
	if err != nil {
		t.Errorf("what was written counts still: %v", err)
	} else {
		second[0].Release()
	}
}

func TestKeepIsBounded(t *testing.T) {
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}"}), nil)
	for _, keep := range []struct{ volumes, bytes, wantVolumes, wantBytes int64 }{
		{1, gb, 1, gb}, {5, 9 * gb, 1, gb}, {-1, -gb, 0, 0}, {1, gb / 2, 1, gb / 2}, {0, 0, 0, 0},
	} {
		before := w.info("a").Used
		r, err := w.reserve("a", gb)
		if err != nil {
			t.Fatal(err)
		}
		r.Keep(int(keep.volumes), keep.bytes)
		r.Release()
		after := w.info("a").Used
		if after.Volumes-before.Volumes != keep.wantVolumes || after.Bytes-before.Bytes != keep.wantBytes {
			t.Errorf("Keep(%d, %d) went from %+v to %+v", keep.volumes, keep.bytes, before, after)
		}
	}
}

func TestWroteFreesTheRoomForWritingOnly(t *testing.T) {
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: "{}"}), nil)
	free := *w.info("a").Free
	big := volume.Want{Pool: "a", Volumes: 1, Size: gb, Bytes: gb, Write: free / 3 * 2}
	reserve := func() (volume.Reservation, error) {
		taken, err := w.Reserve(t.Context(), []volume.Want{big}, nil)
		if err != nil {
			return nil, err
		}
		return taken[0], nil
	}
	first, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(); err == nil {
		t.Fatal("two thirds of the room were reserved twice")
	}
	first.Wrote()
	first.Wrote()
	second, err := reserve()
	if err != nil {
		t.Fatalf("what was written is still counted as to be written: %v", err)
	}
	if r := w.info("a").Reserved; r.Volumes != 2 || r.Bytes != 2*gb {
		t.Errorf("reserved %+v", r)
	}
	first.Keep(1, gb)
	first.Wrote()
	second.Release()
	second.Wrote()
	if i := w.info("a"); i.Used.Volumes != 1 || i.Used.Bytes != gb || i.Reserved != (InfoUse{}) {
		t.Errorf("used %+v, reserved %+v", i.Used, i.Reserved)
	}
	if third, err := reserve(); err != nil {
		t.Errorf("room was lost: %v", err)
	} else {
		third.Release()
	}
}

// bin is a pool's bin for tests: volumes of 1 GB.
type bin struct {
	w     *world
	calls []string
}

// empty purges a volume from a pool's bin.
func (b *bin) empty(_ context.Context, pool string) (bool, error) {
	b.calls = append(b.calls, pool)
	p := b.w.get(pool)
	if b.w.info(pool).Bin.Volumes == 0 {
		return false, nil
	}
	p.Account(volume.Usage{Volumes: -1, Bytes: -gb, BinVolumes: -1, BinBytes: -gb})
	return true, nil
}

func TestTheBinIsEmptiedForRoom(t *testing.T) {
	there := volume.Usage{Volumes: 4, Bytes: 4 * gb, BinVolumes: 3, BinBytes: 3 * gb}
	full := `"max-volumes": 4, "max-total-size": "4G"`
	tests := []struct {
		name     string
		settings map[string]string
		wants    []volume.Want
		calls    string
		chosen   string // "": refused
		says     string
	}{
		{"one", map[string]string{"a": "{" + full + "}"}, []volume.Want{one("", gb)}, "a", "a", ""},
		{"two at once", map[string]string{"a": "{" + full + "}"}, []volume.Want{one("", gb), one("", gb)}, "aa", "aa", ""},
		{"large", map[string]string{"a": "{" + full + "}"}, []volume.Want{one("", 3*gb)}, "aaa", "a", ""},
		{"too large for any bin", map[string]string{"a": "{" + full + "}"}, []volume.Want{one("", 4*gb)}, "", "", "max-volumes is 4"},
		{"too many for the bin", map[string]string{"a": "{" + full + "}"}, []volume.Want{one("", 1), one("", 1), one("", 1), one("", 1)}, "", "", "max-volumes is 4"},
		{"not needed", map[string]string{"a": "{" + full + "}", "b": `{"max-volumes": 9}`}, []volume.Want{one("", gb)}, "", "b", ""},
		{"forbidden", map[string]string{"a": "{" + full + `, "bin-keep": true}`}, []volume.Want{one("", gb)}, "", "", "bin-keep forbids"},
		{"forbidden in one", map[string]string{"a": "{" + full + `, "bin-keep": true}`, "b": "{" + full + "}"}, []volume.Want{one("", gb)}, "b", "b", ""},
		{"of the named one", map[string]string{"a": "{" + full + "}", "b": "{" + full + "}"}, []volume.Want{one("b", gb)}, "b", "b", ""},
		{"of two", map[string]string{"a": "{" + full + "}", "b": "{" + full + "}"}, []volume.Want{one("a", gb), one("b", gb)}, "ab", "ab", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for pool, text := range tt.settings {
				files[pool+"/"+SettingsFile] = text
			}
			w := open(t, tree(t, files), volumes{"a": there, "b": there})
			b := &bin{w: w}
			fit, err := w.Fit(t.Context(), tt.wants)
			if err != nil || fit != (tt.chosen != "") {
				t.Errorf("fit %t, %v", fit, err)
			}
			if _, err := w.Reserve(t.Context(), tt.wants, nil); tt.calls != "" && !fault.Is(err, fault.VolumeNotAllocable) {
				t.Errorf("without emptying: %v", err)
			}
			if tt.calls == "" && tt.chosen != "" {
				return
			}
			list, err := w.Reserve(t.Context(), tt.wants, b.empty)
			var chosen strings.Builder
			for _, r := range list {
				chosen.WriteString(r.Pool())
			}
			if chosen.String() != tt.chosen || strings.Join(b.calls, "") != tt.calls {
				t.Errorf("chose %q after emptying %q, want %q after %q", chosen.String(), b.calls, tt.chosen, tt.calls)
			}
			if tt.chosen == "" && (!fault.Is(err, fault.VolumeNotAllocable) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
		})
	}
}

func TestABinThatGivesNothing(t *testing.T) {
	there := volume.Usage{Volumes: 1, Bytes: gb, BinVolumes: 1, BinBytes: gb}
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: `{"max-volumes": 1}`, "b/" + SettingsFile: `{"max-volumes": 1}`}),
		volumes{"a": there, "b": there})
	var calls []string
	_, err := w.Reserve(t.Context(), []volume.Want{one("", gb)}, func(_ context.Context, pool string) (bool, error) {
		calls = append(calls, pool)
		return false, fault.Errorf(fault.PoolUnavailable, "the disk is gone")
	})
	if !fault.Is(err, fault.VolumeNotAllocable) || len(calls) != 2 || calls[0] == calls[1] {
		t.Errorf("error %v after emptying %q", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = w.Reserve(ctx, []volume.Want{one("", gb)}, func(context.Context, string) (bool, error) {
		cancel()
		return true, nil
	})
	if err != context.Canceled { //nolint:errorlint // as it is
		t.Errorf("error %v after the caller went", err)
	}
}

func TestManyEmptyTheBinAtOnce(t *testing.T) {
	const n = 20
	w := open(t, tree(t, map[string]string{"a/" + SettingsFile: fmt.Sprintf(`{"max-volumes": %d}`, n)}),
		volumes{"a": {Volumes: n, Bytes: n * gb, BinVolumes: n, BinBytes: n * gb}})
	b := &bin{w: w}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			list, err := w.Reserve(t.Context(), []volume.Want{one("", gb)}, b.empty)
			if err != nil {
				t.Error(err)
				return
			}
			list[0].Keep(1, gb)
		})
	}
	wg.Wait()
	if i := w.info("a"); i.Used.Volumes != n || i.Bin.Volumes != 0 || len(b.calls) != n {
		t.Errorf("used %+v, bin %+v after %d purges", i.Used, i.Bin, len(b.calls))
	}
}

func TestCount(t *testing.T) {
	files := map[string]string{
		"a/" + SettingsFile: `{"max-total-size": "5G"}`, "b/" + SettingsFile: `{"max-total-size": "2G"}`, "bad/" + SettingsFile: `-`,
	}
	w := open(t, tree(t, files), volumes{"b": {Volumes: 1, Bytes: 2 * gb, BinVolumes: 1, BinBytes: 2 * gb}})
	tests := []struct {
		name string
		want volume.Want
		n    int
		code fault.Code
	}{
		{"both", one("", gb), 2, ""},
		{"one", one("", 3*gb), 1, ""},
		{"none", one("", 6*gb), 0, ""},
		{"a named one", one("b", gb), 1, ""},
		{"one that is not valid", one("bad", gb), 0, ""},
		{"one that is not there", one("x", gb), 0, fault.PoolNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := w.Count(t.Context(), tt.want)
			if n != tt.n || err != nil != (tt.code != "") || err != nil && !fault.Is(err, tt.code) {
				t.Errorf("%d, %v", n, err)
			}
			fit, err := w.Fit(t.Context(), []volume.Want{tt.want})
			if fit != (tt.n > 0) || err != nil != (tt.code != "") {
				t.Errorf("fit %t, %v", fit, err)
			}
		})
	}
}

func TestReasonsAreBounded(t *testing.T) {
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("p%02d/%s", i, SettingsFile)] = `{"name": "` + strings.Repeat("n", 200) + fmt.Sprint(i) + `", "max-volumes": 0}`
	}
	w := open(t, tree(t, files), nil)
	_, err := w.reserve("", gb)
	if err == nil || len(err.Error()) > 8*520 || !strings.Contains(err.Error(), "and 22 more pools") {
		t.Errorf("error %v", err)
	}
}

func BenchmarkReserve(b *testing.B) {
	files := map[string]string{}
	for i := range 4 {
		files[fmt.Sprintf("p%d/%s", i, SettingsFile)] = `{"max-total-size": "4000P"}`
	}
	w := open(b, tree(b, files), nil)
	wants := []volume.Want{one("", gb)}
	for b.Loop() {
		list, err := w.Reserve(b.Context(), wants, nil)
		if err != nil {
			b.Fatal(err)
		}
		list[0].Keep(1, gb)
	}
}

package pool

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"elstore/volume"
)

// offers makes offers with room for as many bytes, of pools named a, b, c...
func offers(bytes ...int64) []*offer {
	list := make([]*offer, len(bytes))
	for i, n := range bytes {
		list[i] = &offer{
			name: string(rune('a' + i)), limits: Limits{Unlimited, Unlimited, n}, volumes: Unlimited, bytes: n,
			keeps: func(f volume.Format) bool { return f != volume.RBD },
		}
	}
	return list
}

// wantsOf makes wants of as many bytes.
func wantsOf(bytes ...int64) []volume.Want {
	list := make([]volume.Want, len(bytes))
	for i, n := range bytes {
		list[i] = volume.Want{Volumes: 1, Size: n, Bytes: n}
	}
	return list
}

// packs reports whether the wants fit, by trying everything.
func packs(room []int64, wants []int64) bool {
	if len(wants) == 0 {
		return true
	}
	for i := range room {
		if room[i] >= wants[0] {
			room[i] -= wants[0]
			ok := packs(room, wants[1:])
			room[i] += wants[0]
			if ok {
				return true
			}
		}
	}
	return false
}

func TestPlaceFindsWhatThereIs(t *testing.T) {
	found := 0
	for range 3000 {
		room := []int64{rand.Int64N(20), rand.Int64N(20), rand.Int64N(20)}
		var sizes []int64
		for range 1 + rand.IntN(6) {
			sizes = append(sizes, 1+rand.Int64N(10))
		}
		list, wants := offers(room...), wantsOf(sizes...)
		chosen, failed := place(list, wants, false)
		could := packs(room, sizes)
		if could != (failed < 0) {
			t.Fatalf("%v into %v: could %t, failed %d", sizes, room, could, failed)
		}
		left := append([]int64(nil), room...)
		for i, o := range chosen {
			left[o.name[0]-'a'] -= sizes[i]
		}
		for i, o := range list {
			if o.bytes != left[i] || left[i] < 0 {
				t.Fatalf("%v into %v: %s has %d left, want %d", sizes, room, o.name, o.bytes, left[i])
			}
		}
		if could {
			found++
		}
	}
	if found < 100 || found > 2900 {
		t.Errorf("%d of 3000 fitted, which tests little", found)
	}
}

func TestPlaceManyThatFillEverything(t *testing.T) {
	var sizes []int64
	for range 30 {
		sizes = append(sizes, 7, 3)
	}
	for _, room := range [][]int64{{210, 90}, {90, 210}, {150, 150}, {299, 1}} {
		chosen, failed := place(offers(room...), wantsOf(sizes...), false)
		if room[0] == 299 {
			if failed < 0 {
				t.Errorf("%v was filled by sevens and threes", room)
			}
			continue
		}
		if failed >= 0 || len(chosen) != len(sizes) {
			t.Errorf("%v was not filled", room)
		}
	}
}

func TestPlaceAvoidsBins(t *testing.T) {
	list := offers(100, 5)
	list[0].bytes, list[0].bin = 0, tally{Volumes: 1, Bytes: 100}
	chosen, _ := place(list, wantsOf(5, 50), true)
	if chosen[0].name != "b" || chosen[1].name != "a" || !list[0].empties || list[1].empties {
		t.Errorf("chose %s and %s", chosen[0].name, chosen[1].name)
	}
	list[0].keepsBin = true
	list[0].bytes = 0
	if _, failed := place(list, wantsOf(50), true); failed != 0 {
		t.Error("a bin that is to be kept was counted")
	}
}

func TestOrders(t *testing.T) {
	list := offers(5, 9, 9)
	list[2].used.Bytes = 1
	if roomier(list[1], list[0]) >= 0 || roomier(list[1], list[2]) >= 0 || tighter(list[0], list[1]) >= 0 || roomier(list[0], list[0]) != 0 {
		t.Error("the orders are not those of room and use")
	}
	list[0].disk = &disk{inFlight: 3}
	list[0].free, list[0].reserve = 6, 1
	if got := list[0].room(); got != 2 {
		t.Errorf("room %d, want 2", got)
	}
}

func TestExplain(t *testing.T) {
	o := offers(10)[0]
	o.volumes, o.limits.Volumes, o.limits.VolumeSize = 1, 4, 8
	o.disk, o.free = &disk{}, 5
	o.keepsBin, o.bin = true, tally{Volumes: 1, Bytes: 1}
	tests := []struct {
		name string
		want volume.Want
		says string
	}{
		{"fits", volume.Want{Volumes: 1, Size: 8, Bytes: 8}, "some of them"},
		{"format", volume.Want{Volumes: 1, Format: volume.RBD}, "format rbd"},
		{"size", volume.Want{Volumes: 1, Size: 9, Bytes: 9}, "max-volume-size is 8 bytes, and 9 bytes are asked for"},
		{"number", volume.Want{Volumes: 2}, "max-volumes is 4, and room is left for 1, and bin-keep forbids"},
		{"bytes", volume.Want{Bytes: 11}, "of max-total-size 10 bytes there are 10 bytes left, and 11 bytes are needed, and bin-keep forbids"},
		{"space", volume.Want{Write: 6}, "has room for 5 bytes, and 6 bytes are to be written now, and bin-keep forbids"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := o.explain(&tt.want, o.lacks(&tt.want, true)); !strings.Contains(got, tt.says) {
				t.Errorf("%q does not say %q", got, tt.says)
			}
		})
	}
}

func BenchmarkPlaceWhatCannotBe(b *testing.B) {
	var sizes []int64
	for range 100 {
		sizes = append(sizes, 7)
	}
	wants := wantsOf(sizes...)
	for _, n := range []int{4, 16} {
		b.Run(fmt.Sprint(n, " pools"), func(b *testing.B) {
			room := make([]int64, n)
			for i := range room {
				room[i] = 699 / int64(n)
			}
			for b.Loop() {
				if _, failed := place(offers(room...), wants, false); failed < 0 {
					b.Fatal("it was placed")
				}
			}
		})
	}
}

package rbd

import (
	"strings"
	"testing"

	"elstore/volume"
	"elstore/volume/fault"
)

func TestParseRef(t *testing.T) {
	good := Ref{Cluster: "8a7b1bd1", Pool: "volumes", Image: "elstore.x"}
	tests := []struct {
		name string
		data string
		want Ref // zero: it is refused
	}{
		{"what Encode wrote", string(good.Encode()), good},
		{"made by hand, with more in it", `{"cluster": "8a7b1bd1", "pool": "volumes", "image": "elstore.x", "note": 1}`, good},
		{"a name that is not ASCII", `{"cluster": "c", "pool": "p", "image": "größe"}`, Ref{"c", "p", "größe"}},
		{"nothing", "", Ref{}},
		{"not JSON", "volumes/image", Ref{}},
		{"an array", `[]`, Ref{}},
		{"null", `null`, Ref{}},
		{"two objects", string(good.Encode()) + string(good.Encode()), Ref{}},
		{"no cluster", `{"pool": "p", "image": "i"}`, Ref{}},
		{"no pool", `{"cluster": "c", "image": "i"}`, Ref{}},
		{"no image", `{"cluster": "c", "pool": "p"}`, Ref{}},
		{"an image that is a number", `{"cluster": "c", "pool": "p", "image": 1}`, Ref{}},
		{"another pool in the image's name", `{"cluster": "c", "pool": "p", "image": "q/i"}`, Ref{}},
		{"a snapshot in the image's name", `{"cluster": "c", "pool": "p", "image": "i@s"}`, Ref{}},
		{"an option of QEMU's in the image's name", `{"cluster": "c", "pool": "p", "image": "i:conf=x"}`, Ref{}},
		{"a backslash", `{"cluster": "c", "pool": "p", "image": "i\\x"}`, Ref{}},
		{"a control character", `{"cluster": "c", "pool": "p", "image": "i\n"}`, Ref{}},
		{"no UTF-8", "{\"cluster\": \"c\", \"pool\": \"p\", \"image\": \"\xff\"}", Ref{}},
		{"a name that is too long", `{"cluster": "c", "pool": "p", "image": "` + strings.Repeat("i", maxName+1) + `"}`, Ref{}},
		{"too long", `{"cluster": "c", "pool": "p", "image": "i"}` + strings.Repeat(" ", MaxRef), Ref{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRef([]byte(tt.data))
			if got != tt.want || (err == nil) != (tt.want != Ref{}) || err != nil && !fault.Is(err, fault.VolumeDamaged) {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add(Ref{Cluster: "8a7b1bd1", Pool: "volumes", Image: "elstore.x"}.Encode())
	f.Add([]byte(`{"cluster": "c", "pool": "p", "image": "i"} `))
	f.Add([]byte(`{"cluster": "c", "pool": "p", "image": "a/b"}`))
	f.Add([]byte(`{"image": "i"}{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRef(data)
		if err != nil {
			return
		}
		for _, name := range []string{r.Cluster, r.Pool, r.Image} {
			if name == "" || len(name) > maxName || strings.ContainsAny(name, "/@:\\\x00\n") {
				t.Fatalf("%q was let through", name)
			}
		}
		if again, err := ParseRef(r.Encode()); err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func TestNames(t *testing.T) {
	id := volume.NewID()
	name := newName(id)
	if got, ok := VolumeOf(name); !ok || got != id || !validName(name) || newName(id) == name {
		t.Errorf("%s is of volume %s, %t", name, got, ok)
	}
	parked := parkedName(name)
	if _, ok := VolumeOf(parked); ok || !validName(parked) || parkedName(parked) != parked || parkedName(name) == parked {
		t.Errorf("%s is parked as %s", name, parked)
	}
	if long := parkedName(strings.Repeat("i", maxName)); !validName(long) || !strings.HasPrefix(long, parkedPrefix) {
		t.Errorf("a long name is parked as %s", long)
	}
	for _, name := range []string{
		"", "image", "elstore.", "elstore." + id.String(), "elstore." + id.String() + ".", "elstore." + strings.ToUpper(id.String()) + ".x",
		"elstore." + id.String()[1:] + ".x", "elstore.zz" + id.String()[2:] + ".x", "x" + name,
	} {
		if got, ok := VolumeOf(name); ok {
			t.Errorf("%q is said to be of volume %s", name, got)
		}
	}
}

package rbd

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"elstore/volume"
	"elstore/volume/fault"
)

// MaxRef is the largest data.rbd that is read, in bytes.
const MaxRef = 4 << 10

// maxName is the longest name of a cluster, pool or image, in bytes.
const maxName = 128

// Ref is the content of a data.rbd: which image is the volume's.
type Ref struct {
	Cluster string `json:"cluster"` // the cluster's fsid
	Pool    string `json:"pool"`    // the RADOS pool
	Image   string `json:"image"`
}

// Encode returns the content of a data.rbd: one line of JSON.
func (r Ref) Encode() []byte {
	data, err := json.Marshal(r)
	if err != nil { // strings always can be
		panic(err)
	}
	return append(data, '\n')
}

// ParseRef reads a data.rbd. Pure.
func ParseRef(data []byte) (Ref, error) {
	bad := func(why string) (Ref, error) {
		return Ref{}, fault.Errorf(fault.VolumeDamaged, "data.rbd %s", why)
	}
	if len(data) > MaxRef {
		return bad("is too long")
	}
	if !utf8.Valid(data) {
		return bad("is not text")
	}
	var r Ref
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&r); err != nil {
		return bad("is not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("has something behind its last brace")
	}
	for _, part := range []struct{ key, value string }{{"cluster", r.Cluster}, {"pool", r.Pool}, {"image", r.Image}} {
		if !validName(part.value) {
			return bad(`needs a "` + part.key + `" of 1 to 128 printable characters without /, @ and :`)
		}
	}
	return r, nil
}

// validName reports whether a name can be told to librbd and QEMU, where /, @ and : part names from each other.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool {
		return r < 0x20 || r == 0x7f || r == '/' || r == '@' || r == ':' || r == '\\' || r == utf8.RuneError
	})
}

// The names that this package gives.
const (
	imagePrefix  = "elstore."        // of images: elstore.<volume id>.<random>
	parkedPrefix = "elstore-parked." // of images in the trash that nothing but their clones needs
	snapPrefix   = "elstore-"        // of snapshots, which live for a moment: elstore-<server id>-<random>
	holderKey    = "elstore.holder"  // of the note in an image about who has its lock
)

// newName returns the name of a new image for a volume.
func newName(id volume.ID) string { return imagePrefix + id.String() + "." + randomWord() }

// VolumeOf returns the volume that an image was made for, by its name.
func VolumeOf(image string) (id volume.ID, ok bool) {
	rest, ok := strings.CutPrefix(image, imagePrefix)
	text, word, cut := strings.Cut(rest, ".")
	if !ok || !cut || word == "" || len(text) != 32 || strings.ToLower(text) != text {
		return volume.ID{}, false
	}
	err := id.UnmarshalText([]byte(text))
	return id, err == nil
}

// randomWord returns a word that is used once.
func randomWord() string { return strings.ToLower(rand.Text()[:13]) }

// parkedName returns the name that a purged image is parked under.
func parkedName(image string) string {
	if strings.HasPrefix(image, parkedPrefix) {
		return image
	}
	name := parkedPrefix + image
	return name[:min(len(name), maxName-14)] + "." + randomWord()
}

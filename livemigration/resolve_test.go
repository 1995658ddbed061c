package livemigration

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume"
)

// takenOver makes the Book of a volume a server's that takes no part.
func (d *duo) takenOver(id volume.ID) {
	d.t.Helper()
	var book string
	d.one.must(filepath.WalkDir(d.one.root, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, id.String()) && strings.HasSuffix(path, "/"+volume.RecordsDir+"/exports.json") {
			book = path
		}
		return err
	}))
	data, err := os.ReadFile(book)
	d.one.must(err)
	var b struct {
		Version     int              `json:"version"`
		Server      string           `json:"server"`
		Epoch       int64            `json:"epoch"`
		Attachments []map[string]any `json:"attachments"`
	}
	d.one.must(json.Unmarshal(data, &b))
	b.Version, b.Server, b.Attachments = 1, volume.NewID().String(), b.Attachments[:1]
	b.Attachments[0]["id"] = volume.NewID()
	delete(b.Attachments[0], "migration")
	data, err = json.Marshal(b)
	d.one.must(err)
	d.one.must(os.WriteFile(book, data, 0o600))
}

// One of two volumes was taken over by somebody else. When an operator has said where the machine runs, the other one is free.
func TestResolveFreesWhatIsLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		passed bool
		owner  Side
		has    bool // the side has the other volume in the end, else nobody
	}{
		"the source has the pen, and stays":           {owner: Source, has: true},
		"the source has the pen, and does not stay":   {owner: Destination},
		"the destination has the pen, and stays":      {passed: true, owner: Destination, has: true},
		"the destination has the pen, and gives back": {passed: true, owner: Source, has: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t, nil)
			ids := d.disks(2)
			set, err := d.two.Prepare(t.Context(), d.request(ids))
			d.one.must(err)
			d.two.arrive(set.Record)
			if tt.passed && !d.two.at(set.Record, 0, Destination).write(t.Context()) {
				t.Fatal("the destination can't write")
			}
			both := []*stage{d.one, d.two}
			for _, s := range both {
				d.stops[s]()
				s.end()
			}
			d.takenOver(ids[0])
			for _, s := range both {
				s.start()
				d.run(s)
			}
			for _, s := range both {
				if s == d.one && tt.passed {
					continue // it has nothing to do with it any more, but to see the end
				}
				d.eventually(func() string {
					if now, err := s.Get(Ref{ID: set.ID}); err != nil || now.State != NeedsOperator && now.State != Stable {
						return "nobody asks an operator"
					}
					return ""
				})
				d.eventually(func() string {
					if _, err := s.Resolve(t.Context(), Ref{ID: set.ID}, tt.owner); err != nil {
						return err.Error()
					}
					return ""
				})
			}
			client, at := alice, d.one
			if tt.owner == Destination {
				client, at = bob, d.two
			}
			if tt.has {
				d.writes(ids[1:], client, at)
			}
			d.one.must(at.exports.Unexport(t.Context(), ids[1], client, "", false))
			d.eventually(func() string {
				b, err := d.one.exports.Book(t.Context(), ids[1])
				if err != nil || len(b.Attachments) > 0 {
					return "exports are left"
				}
				return ""
			})
		})
	}
}

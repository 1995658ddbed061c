package export

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/volume"
	"elstore/volume/durable"
)

func TestExamine(t *testing.T) {
	const mine, theirs = "11111111111111111111111111111111", "22222222222222222222222222222222"
	id := volume.NewID()
	now := time.Now()
	book := func(server string, clients ...volume.Client) Book {
		b := Book{Server: server}
		for _, c := range clients {
			b.Add(Record{Client: c, Kind: "iscsi"})
		}
		return b
	}
	marker := func(server string, epoch int64, age time.Duration, clients ...volume.Client) func(t *testing.T, s *Store) {
		return func(t *testing.T, s *Store) {
			for _, c := range clients {
				name := Name(c, id) + markerSuffix
				if err := writeMarker(s.dir, name, Marker{Server: server, Epoch: epoch}); err != nil {
					t.Fatal(err)
				}
				if err := s.dir.Chtimes(name, now.Add(-age), now.Add(-age)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tests := []struct {
		name string
		book Book
		do   []func(t *testing.T, s *Store)
		want []string // severity, path's beginning and a part of the sentence
	}{
		{"nothing", Book{}, nil, nil},
		{"an export that lives", book(mine, alice), []func(*testing.T, *Store){marker(mine, 1, 0, alice)}, nil},
		{"an export of a server that is down", book(mine, alice), []func(*testing.T, *Store){marker(mine, 1, time.Hour, alice)}, nil},
		{"no marker", book(mine, alice, bob), []func(*testing.T, *Store){marker(mine, 1, 0, alice)}, []string{"warning .export/exports.json client " + bob.String()}},
		{"another server's records", book(theirs, alice), []func(*testing.T, *Store){marker(theirs, 1, 0, alice)}, []string{"note .export/exports.json those of the server " + theirs}},
		{"a marker that was left", Book{}, []func(*testing.T, *Store){marker(mine, 1, time.Hour, alice)}, []string{"warning iqn. has ended"}},
		{"another server's marker that was left", Book{}, []func(*testing.T, *Store){marker(theirs, 1, time.Hour, alice)}, []string{"note iqn. has ended"}},
		{"a fresh marker without records", Book{}, []func(*testing.T, *Store){marker(theirs, 1, 0, alice)}, []string{"problem iqn. has no records"}},
		{"two servers", book(mine, alice), []func(*testing.T, *Store){marker(theirs, 1, 0, alice)}, []string{"problem iqn. both may export"}},
		{"records of yesterday", book(mine, alice), []func(*testing.T, *Store){marker(mine, 7, time.Hour, alice)}, []string{"problem .export/exports.json backup"}},
		{"another system exports it", Book{}, []func(*testing.T, *Store){marker("", 0, 0, alice)}, []string{"note iqn. another system exports"}},
		{"another system exported it", Book{}, []func(*testing.T, *Store){marker("", 0, time.Hour, alice)}, []string{"problem iqn. does not keep"}},
		{"records that can't be read", book(mine, alice), []func(*testing.T, *Store){func(t *testing.T, s *Store) {
			if err := s.Save(bookName, []byte("nonsense")); err != nil {
				t.Fatal(err)
			}
		}}, []string{"problem .export/exports.json can't be read"}},
		{"reservations of nobody", Book{}, []func(*testing.T, *Store){func(t *testing.T, s *Store) {
			if err := s.Save("iscsi", []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}}, []string{"note .export/iscsi.json has ended"}},
		{"half a record", book(mine, alice), []func(*testing.T, *Store){marker(mine, 1, 0, alice), func(t *testing.T, s *Store) {
			if err := s.dir.WriteFile(volume.RecordsDir+"/"+durable.TempPrefix+"x", nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}}, []string{"warning .export/.tmp- being written"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "v")
			if err := os.MkdirAll(filepath.Join(path, volume.RecordsDir), 0o700); err != nil {
				t.Fatal(err)
			}
			dir, err := os.OpenRoot(path)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			s := &Store{dir: dir}
			if err := s.saveBook(&tt.book); err != nil {
				t.Fatal(err)
			}
			for _, do := range tt.do {
				do(t, s)
			}
			got := Examine(dir, id, mine, now)
			if len(got) != len(tt.want) {
				t.Fatalf("found %+v, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				words := strings.SplitN(want, " ", 3)
				if g := got[i]; string(g.Severity) != words[0] || !strings.HasPrefix(g.Path, words[1]) || !strings.Contains(g.What, words[2]) {
					t.Errorf("found %+v, want %q", g, want)
				}
				if got[i].Severity == Problem && got[i].Cure == "" {
					t.Errorf("%+v does not say what to do", got[i])
				}
			}
		})
	}
}

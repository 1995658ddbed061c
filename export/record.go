package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"elstore/export/iscsi/login"
	"elstore/volume"
)

// Record is an attachment as its Book keeps it. A value: nobody changes one in place.
type Record struct {
	ID     volume.ID // of the attachment; random
	Client volume.Client
	Kind   string
	Epoch  int64 // of the Book when it was made: no two attachments of a volume have the same
	Since  time.Time

	// How the client logs in, and how we prove to be ourselves to it. What the kind doesn't need is empty.
	User       string // unique in the server
	Secret     login.Secret
	PeerUser   string
	PeerSecret login.Secret
	Initiator  string // the only one that may log in, as the kind names initiators; "" is any

	ReadOnly  bool
	Multipath bool   // several sessions of one initiator
	Path      bool   // the image's path was given away: it can't be fenced while it is open
	Migration string // the live migration that it is part of, or ""
	Server    string // the id of the server that lets it in, where that is not the Book's: the destination's of a live migration
	Port      uint16 // number of the client among those of the volume, from 1 on; the same for all of a client's attachments
	Rates     Rates  // over those of the volume
}

// Book is what a server keeps of the attachments to one volume.
type Book struct {
	Server      string // the id of the server that acts on it
	Pen         string // the id of the server that may have the volume open for writing, where that is not Server
	Epoch       int64  // of the newest attachment that it ever had
	Attachments []Record
}

// lets reports whether a server lets an attachment of the Book in.
func (b *Book) lets(r Record, server string) bool { return cmp.Or(r.Server, b.Server) == server }

// writer returns the server that may have the volume open for writing.
func (b *Book) writer() string { return cmp.Or(b.Pen, b.Server) }

// between reports whether the volume is moving between two servers.
func (b *Book) between() bool {
	return b.Pen != "" || slices.ContainsFunc(b.Attachments, func(r Record) bool { return r.Server != "" })
}

// Guest returns the other of the two servers between which the volume moves, "" where it doesn't.
func (b *Book) Guest() string {
	for _, r := range b.Attachments {
		if r.Server != "" {
			return r.Server
		}
	}
	return b.Pen
}

// Visits reports whether a server lets somebody in whose Book is another server's.
func (b *Book) Visits(server string) bool {
	return b.Server != server && slices.ContainsFunc(b.Attachments, func(r Record) bool { return r.Server == server })
}

// Passed reports whether the pen is another server's than the Book.
func (b *Book) Passed() bool { return b.writer() != b.Server }

// Find returns a client's attachment of a kind.
func (b *Book) Find(client volume.Client, kind string) (Record, bool) {
	i := slices.IndexFunc(b.Attachments, func(r Record) bool { return r.Client == client && r.Kind == kind })
	if i < 0 {
		return Record{}, false
	}
	return b.Attachments[i], true
}

// Get returns the attachment of an id.
func (b *Book) Get(id volume.ID) (Record, bool) {
	i := slices.IndexFunc(b.Attachments, func(r Record) bool { return r.ID == id })
	if i < 0 {
		return Record{}, false
	}
	return b.Attachments[i], true
}

// Add gives r an epoch, a time, a port, and an id if it has none, and enters it.
func (b *Book) Add(r Record) Record {
	b.Epoch++
	if r.ID.IsZero() {
		r.ID = volume.NewID()
	}
	r.Epoch, r.Since, r.Port = b.Epoch, time.Now().UTC().Round(0), b.port(r.Client)
	b.Attachments = append(slices.Clone(b.Attachments), r)
	return r
}

// port returns the client's number: the one that it has, or the first that nobody has.
func (b *Book) port(client volume.Client) uint16 {
	taken := map[uint16]bool{}
	for _, r := range b.Attachments {
		if r.Client == client {
			return r.Port
		}
		taken[r.Port] = true
	}
	port := uint16(1)
	for taken[port] {
		port++
	}
	return port
}

// Set replaces the attachment of r's id.
func (b *Book) Set(r Record) {
	b.Attachments = slices.Clone(b.Attachments)
	for i := range b.Attachments {
		if b.Attachments[i].ID == r.ID {
			b.Attachments[i] = r
		}
	}
}

// Drop removes the attachments that match.
func (b *Book) Drop(match func(Record) bool) {
	b.Attachments = slices.DeleteFunc(slices.Clone(b.Attachments), match)
}

// maxAttachments bounds those of one volume, and with it the Book.
const maxAttachments = 1024

// maxBook is the largest Book that is read, in bytes.
const maxBook = 4 << 20

// savedRecord is a Record in its file. It is the one place where secrets are written.
type savedRecord struct {
	ID         volume.ID     `json:"id"`
	Client     volume.Client `json:"client"`
	Kind       string        `json:"kind"`
	Epoch      int64         `json:"epoch"`
	Since      time.Time     `json:"since"`
	User       string        `json:"user,omitempty"`
	Secret     string        `json:"secret,omitempty"`
	PeerUser   string        `json:"peer_user,omitempty"`
	PeerSecret string        `json:"peer_secret,omitempty"`
	Initiator  string        `json:"initiator,omitempty"`
	ReadOnly   bool          `json:"readonly"`
	Multipath  bool          `json:"multipath,omitempty"`
	Path       bool          `json:"path,omitempty"`
	Migration  string        `json:"migration,omitempty"`
	Server     string        `json:"server,omitempty"`
	Port       uint16        `json:"port"`
	Rates      Rates         `json:"rates,omitzero"`
}

type savedBook struct {
	Version     int           `json:"version"`
	Server      string        `json:"server"`
	Pen         string        `json:"pen,omitempty"`
	Epoch       int64         `json:"epoch"`
	Attachments []savedRecord `json:"attachments"`
}

// bookVersion is that of a Book of one server, and bookBetween of one whose volume moves between two, which a program that doesn't know
// of that must not act on. This program writes and reads both.
const (
	bookVersion = 1
	bookBetween = 2
)

// encode writes the Book, secrets and all.
func (b *Book) encode() []byte {
	out := savedBook{Version: bookVersion, Server: b.Server, Pen: b.Pen, Epoch: b.Epoch, Attachments: []savedRecord{}}
	if b.between() {
		out.Version = bookBetween
	}
	for _, r := range b.Attachments {
		out.Attachments = append(out.Attachments, savedRecord{
			ID: r.ID, Client: r.Client, Kind: r.Kind, Epoch: r.Epoch, Since: r.Since,
			User: r.User, Secret: r.Secret.Reveal(), PeerUser: r.PeerUser, PeerSecret: r.PeerSecret.Reveal(), Initiator: r.Initiator,
			ReadOnly: r.ReadOnly, Multipath: r.Multipath, Path: r.Path, Migration: r.Migration, Server: r.Server,
			Port: r.Port, Rates: r.Rates,
		})
	}
	data, err := json.Marshal(out)
	if err != nil {
		panic("export: a book can't be encoded: " + err.Error()) // no field of it can fail
	}
	return append(data, '\n')
}

// parseBook reads a Book. Pure. No error names what stands in it: there are secrets.
func parseBook(data []byte) (Book, error) {
	var in savedBook
	if len(data) > maxBook {
		return Book{}, fmt.Errorf("it has over %d bytes", maxBook)
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return Book{}, fmt.Errorf("it is not the JSON of a book of exports")
	}
	switch {
	case in.Version != bookVersion && in.Version != bookBetween:
		return Book{}, fmt.Errorf("its version is %d, and this server reads %d and %d", in.Version, bookVersion, bookBetween)
	case len(in.Attachments) > maxAttachments:
		return Book{}, fmt.Errorf("it has over %d attachments", maxAttachments)
	}
	b := Book{Server: in.Server, Pen: in.Pen, Epoch: in.Epoch}
	ids, ports := map[volume.ID]bool{}, map[uint16]volume.Client{}
	for i, r := range in.Attachments {
		other, taken := ports[r.Port]
		switch {
		case r.ID.IsZero() || r.Client.IsZero() || r.Kind == "" || r.Port == 0:
			return Book{}, fmt.Errorf("attachment %d lacks its id, client, kind or port", i)
		case ids[r.ID], taken && other != r.Client:
			return Book{}, fmt.Errorf("attachment %d has the id or port of another", i)
		case r.Epoch < 1 || r.Epoch > in.Epoch || in.Epoch >= 1<<62:
			return Book{}, fmt.Errorf("attachment %d has an epoch that never was", i)
		case !r.Rates.valid():
			return Book{}, fmt.Errorf("attachment %d has rates below 0", i)
		}
		ids[r.ID], ports[r.Port] = true, r.Client
		b.Attachments = append(b.Attachments, Record{
			ID: r.ID, Client: r.Client, Kind: r.Kind, Epoch: r.Epoch, Since: r.Since,
			User: r.User, Secret: login.NewSecret(r.Secret), PeerUser: r.PeerUser, PeerSecret: login.NewSecret(r.PeerSecret),
			Initiator: r.Initiator, ReadOnly: r.ReadOnly, Multipath: r.Multipath, Path: r.Path, Migration: r.Migration,
			Server: r.Server, Port: r.Port, Rates: r.Rates,
		})
	}
	if b.Pen != "" && !b.Visits(b.Pen) {
		return Book{}, fmt.Errorf("its pen is a server's that lets nobody in")
	}
	return b, nil
}

package export

import (
	"os"
	"slices"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/durable"
)

// Severity is how bad a Trouble is, in the words of volume/file.
type Severity string

// The severities, from the mildest.
const (
	Note    Severity = "note"    // worth knowing; nothing is to be done
	Warning Severity = "warning" // left behind: the next start of the server puts it in order
	Problem Severity = "problem" // somebody has to do something
)

// Trouble is something about a volume's exports that disagrees on disk.
type Trouble struct {
	Severity Severity
	Path     string // in the volume's directory
	What     string // a sentence
	Cure     string
}

// Examine looks at the records and markers in a volume's directory, whether a server runs or not, and changes nothing. server is the id
// of the one whose pools are looked at, "" where that isn't known. While a server changes the exports of the volume it may see half of
// that.
func Examine(dir *os.Root, id volume.ID, server string, now time.Time) []Trouble {
	x := &examined{id: id, server: server, now: now}
	var err error
	if x.marks, err = marks(dir); err != nil {
		x.add(Problem, ".", err.Error(), "")
	}
	if x.book, err = (&Store{dir: dir}).readBook(id); err != nil {
		x.add(Problem, path(bookName), err.Error(), "put it back from a backup, or remove it: then its clients lose their exports")
		return x.list
	}
	x.records()
	x.markers()
	x.leftovers(dir)
	return x.list
}

// examined is a volume as Examine sees it.
type examined struct {
	id     volume.ID
	server string
	now    time.Time
	book   Book
	marks  []mark
	list   []Trouble
}

func (x *examined) add(s Severity, path, what, cure string) {
	x.list = append(x.list, Trouble{s, path, what, cure})
}

// records looks at what the Book says.
func (x *examined) records() {
	if n := len(x.book.Attachments); n > 0 && x.server != "" && x.book.Server != x.server && !x.book.Visits(x.server) {
		x.add(Note, path(bookName), "the volume's exports are those of the server "+x.book.Server+", and not of this one's, "+x.server,
			"start that server on them; or export the volume anew here, with which they end")
	}
	for _, r := range x.book.Attachments {
		name := Name(r.Client, x.id) + markerSuffix
		if x.book.between() {
			break // markers are for who has the volume
		}
		if !slices.ContainsFunc(x.marks, func(m mark) bool { return m.name == name }) {
			x.add(Warning, path(bookName), "client "+r.Client.String()+" has an export over "+r.Kind+" without the marker "+name, "")
		}
	}
}

// markers looks at what is there for everybody to see.
func (x *examined) markers() {
	for _, m := range x.marks {
		recorded := slices.ContainsFunc(x.book.Attachments, func(r Record) bool { return Name(r.Client, x.id)+markerSuffix == m.name })
		fresh := m.fresh(x.now)
		switch {
		case m.Server == "" && fresh:
			x.add(Note, m.name, "another system exports the volume: it keeps this file fresh", "")
		case m.Server == "":
			x.add(Problem, m.name, "another system exported the volume, and does not keep this file fresh any more", "remove the file when that system has ended the export")
		case recorded && x.book.between() && m.Server == x.book.Guest():
		case recorded && m.Server != x.book.Server && fresh:
			x.add(Problem, m.name, "the server "+m.Server+" keeps this marker fresh, and the records are the server "+x.book.Server+"'s: both may export the volume",
				"stop one of them")
		case recorded && m.Server == x.book.Server && m.Epoch > x.book.Epoch:
			x.add(Problem, path(bookName), "the records are older than the marker "+m.name+", as if they came from a backup: clients that were shut out since may get in",
				"unexport the volume from all of its clients, and export it anew")
		case recorded:
		case fresh:
			x.add(Problem, m.name, "the server "+m.Server+" keeps this marker fresh, and has no records of the export", "unexport the volume there")
		case x.server == "" || m.Server == x.server:
			x.add(Warning, m.name, "an export of the server "+m.Server+" has ended and left this marker", "")
		default:
			x.add(Note, m.name, "an export of the server "+m.Server+" has ended and left this marker", "remove the file if that server is gone for good")
		}
	}
}

// leftovers looks for what only a Book gives a meaning.
func (x *examined) leftovers(dir *os.Root) {
	d, err := dir.Open(volume.RecordsDir)
	if err != nil {
		return // which most volumes don't have
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		x.add(Problem, volume.RecordsDir, err.Error(), "")
	}
	slices.Sort(names)
	for _, name := range names {
		file := volume.RecordsDir + "/" + name
		switch {
		case strings.HasPrefix(name, durable.TempPrefix):
			x.add(Warning, file, "a record was being written as the server ended", "")
		case len(x.book.Attachments) == 0 && (strings.HasPrefix(name, WishNote) || strings.HasPrefix(name, AnswerNote)):
			x.add(Note, file, "this is of a live migration between two servers that has ended", "remove the file")
		case file != path(bookName) && len(x.book.Attachments) == 0:
			x.add(Note, file, "this is of an export that has ended; the next one of its kind clears it", "")
		}
	}
}

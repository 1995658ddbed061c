package iso

import "strings"

// maxContinuations bounds how often a record's system use may go on elsewhere.
const maxContinuations = 32

// maxContinuation is how long a continuation area may be: a logical sector.
const maxContinuation = 2048

// maxName and maxLink bound what a record's system use says, in bytes: what Linux and others can name.
const (
	maxName = 255
	maxLink = 4096
)

// entries yields the system use entries of a record (SUSP section 4.1), following the continuation areas (CE, section
// 5.1), whose bytes read returns. The yielded slices are the bytes read or those of use: who changes them changes these.
func entries(use []byte, skip int, read func(block, off, length uint32) ([]byte, error), yield func(e []byte)) error {
	if skip > len(use) {
		return nil
	}
	use = use[skip:]
	for range maxContinuations {
		var next []byte // of a CE
		for len(use) >= 4 {
			n := int(use[2])
			if n < 4 || n > len(use) || string(use[:2]) == "ST" {
				break // what follows is padding
			}
			e := use[:n]
			if string(e[:2]) == "CE" && n >= 28 {
				next = e
			} else {
				yield(e)
			}
			use = use[n:]
		}
		if next == nil {
			return nil
		}
		if length := both(next[20:]); length > maxContinuation {
			return refuse("a directory record's system use goes on for %d bytes; a sector of %d is the most", length, maxContinuation)
		}
		var err error
		if use, err = read(both(next[4:]), both(next[12:]), both(next[20:])); err != nil {
			return err
		}
	}
	return refuse("a directory record's system use goes on over %d times", maxContinuations)
}

// rockRidge is what of a record's system use matters here.
type rockRidge struct {
	name    string
	link    string // where a symbolic link leads
	isLink  bool
	moved   bool   // RE: it stands here only because its own directory lies too deep
	child   uint32 // CL: where the directory really lies; 0 is none
	hasName bool
	long    bool // the name or the link has more bytes than there may be
}

// take adds one system use entry (RRIP section 4.1).
func (x *rockRidge) take(e []byte) {
	switch string(e[:2]) {
	case "NM": // section 4.1.4; flags 2 and 4 are "." and ".."
		if len(e) > 5 && e[4]&6 == 0 {
			x.long = x.long || len(x.name)+len(e)-5 > maxName
			if !x.long {
				x.name += string(e[5:])
			}
			x.hasName = true
		}
	case "SL": // section 4.1.3
		x.isLink = true
		if len(e) > 5 {
			x.long = x.long || len(x.link)+len(e)-5 > maxLink
			if !x.long {
				x.link += target(e[5:])
			}
		}
	case "CL": // section 4.1.5.1
		if len(e) >= 12 {
			x.child = both(e[4:])
		}
	case "RE": // section 4.1.5.3
		x.moved = true
	}
}

// target joins the components of a symbolic link (RRIP section 4.1.3.1).
func target(b []byte) string {
	var s strings.Builder
	for len(b) >= 2 && 2+int(b[1]) <= len(b) {
		flags, part := b[0], b[2:2+int(b[1])]
		switch {
		case flags&8 != 0:
			s.WriteByte('/')
		case flags&4 != 0:
			s.WriteString("../")
		case flags&2 != 0:
			s.WriteString("./")
		default:
			s.Write(part)
			if flags&1 == 0 {
				s.WriteByte('/')
			}
		}
		b = b[2+len(part):]
	}
	out := s.String()
	if len(out) > 1 {
		out = strings.TrimSuffix(out, "/")
	}
	return out
}

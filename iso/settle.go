package iso

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// epoch is the date of everything in an image, so that it doesn't tell when it was made.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// settle sets right what go-diskfs 1.9.4 writes differently each time, or not as the standard says:
//
//   - the dates of descriptors and records are the clock's and the temporary files'; they become epoch, and "not
//     specified" where they would say from when to when the image is good (ECMA-119 sections 8.4.28 and 8.4.29);
//   - owners and link counts (Rock Ridge PX) are the server's and its file system's; they become root's, and 1 or 2;
//   - short names that collide are told apart in the order of a Go map; see shortNames;
//   - in the Joliet tree the records of subdirectories lead into the other tree; they lead to Joliet's own directories,
//     which the Joliet path table knows;
//   - strings of descriptors end with zeros; they end with spaces (section 7.4.3.2), also those of Joliet;
//   - the image ends with its last file's last byte; it is as long as its volume.
//
// And it puts the files' content in, of which go-diskfs has seen only the lengths.
func settle(data []byte, c Config) ([]byte, error) {
	joliet := []byte(nil)
	pvd := data[systemArea*Sector:][:Sector]
	for at := systemArea * Sector; at+Sector <= len(data); at += Sector {
		d := data[at : at+Sector]
		if d[0] == terminator {
			break
		}
		if d[0] == supplementary {
			joliet = d
		}
		if d[0] == primary || d[0] == supplementary {
			settleDescriptor(d, c)
		}
	}
	size := int(both(pvd[atSpaceSize:])) * Sector
	data = append(data, make([]byte, max(size-len(data), 0))...)[:size]
	pvd = data[systemArea*Sector:][:Sector]
	s := settler{data: data, files: c.Files}
	if err := s.directory(rootOf(pvd), "", nil, 0); err != nil {
		return nil, fmt.Errorf("settle the image: %w", err)
	}
	if joliet == nil {
		return nil, fmt.Errorf("settle the image: it has no Joliet descriptor")
	}
	table, err := s.read(both(joliet[atPathTable:]), 0, both(joliet[atPathTableSize:]))
	if err == nil {
		err = s.directory(rootOf(joliet), "", parsePathTable(table), 1)
	}
	if err != nil {
		return nil, fmt.Errorf("settle the image: %w", err)
	}
	return data, nil
}

func settleDescriptor(d []byte, c Config) {
	copy(d[atCreated:], slices.Concat(longDate(epoch), longDate(epoch), longDate(time.Time{}), longDate(time.Time{})))
	copy(d[atRoot+recordDate:], shortDate(epoch))
	set := func(from, to int, value string) {
		field := d[from:to]
		if d[0] == primary {
			copy(field, value+strings.Repeat(" ", len(field)))
			return
		}
		runes := []rune(value + strings.Repeat(" ", len(field)))
		for i := 0; i+1 < len(field); i += 2 {
			binary.BigEndian.PutUint16(field[i:], uint16(runes[i/2]))
		}
	}
	set(atSystem, atLabel, "")
	set(atLabel, atLabel+32, c.Label)
	set(190, atPublisher, "") // volume set identifier
	set(atPublisher, atPreparer, "")
	set(atPreparer, atApplication, "")
	set(atApplication, atApplication+128, c.Application)
	set(702, atCreated, "") // copyright, abstract and bibliographic files
}

// settler changes the records of an image in memory. What it walks through go-diskfs has just written.
type settler struct {
	data  []byte
	files map[string][]byte
}

func (s *settler) read(block, off, length uint32) ([]byte, error) {
	from := int64(block)*Sector + int64(off)
	if from+int64(length) > int64(len(s.data)) {
		return nil, fmt.Errorf("block %d lies beyond the end", block)
	}
	return s.data[from : from+int64(length)], nil
}

// pathEntry is a directory in a path table (ECMA-119 section 9.4). Directories are numbered from 1 on, the root.
type pathEntry struct {
	name   string
	parent int
}

// pathTable gives where a directory lies, and its number.
type pathTable map[pathEntry]struct {
	extent uint32
	number int
}

func parsePathTable(b []byte) pathTable {
	table := pathTable{}
	for number := 1; len(b) >= 8 && 8+int(b[0]) <= len(b); number++ {
		n := int(b[0])
		e := pathEntry{string(b[8 : 8+n]), int(binary.LittleEndian.Uint16(b[6:]))}
		table[e] = struct {
			extent uint32
			number int
		}{both(b[2:]), number}
		b = b[min(8+n+n%2, len(b)):]
	}
	return table
}

// lead makes the record of a subdirectory of directory number parent lead to where the path table has it.
func (s *settler) lead(r record, table pathTable, parent int) (number int, err error) {
	e, there := table[pathEntry{string(r.name()), parent}]
	if !there {
		return 0, fmt.Errorf("directory %q is not in the path table", ucs2(r.name()))
	}
	self, err := s.read(e.extent, 0, minRecord)
	if err != nil {
		return 0, err
	}
	copy(r[recordExtent:recordDate], self[recordExtent:recordDate]) // its first record is of itself
	return e.number, nil
}

// directory settles the records of a directory and of those below it, and puts the files' content in their places: of the Rock
// Ridge tree, or only the records with its path table the Joliet tree, in which the directory has that number.
func (s *settler) directory(at node, name string, joliet pathTable, number int) error {
	dir, err := s.read(at.extent, 0, at.length)
	if err != nil {
		return err
	}
	var named []namedRecord
	for off := 0; ; {
		r, next, err := nextRecord(dir, off)
		if err != nil {
			return err
		}
		if r == nil {
			break
		}
		off = next
		copy(r[recordDate:], shortDate(epoch))
		var x rockRidge
		if joliet == nil {
			err := entries(r.systemUse(), 0, s.read, func(e []byte) { x.take(e); settleEntry(e, r.isDir()) })
			if err != nil {
				return err
			}
		}
		if r.isDot() {
			continue
		}
		named = append(named, namedRecord{r, x.name})
		within := path.Join(name, x.name)
		if !r.isDir() {
			if joliet == nil {
				if err := s.fill(r, within); err != nil {
					return err
				}
			}
			continue
		}
		below := 0
		if joliet != nil {
			if below, err = s.lead(r, joliet, number); err != nil {
				return err
			}
		}
		if err := s.directory(node{r.extent(), r.length()}, within, joliet, below); err != nil {
			return err
		}
	}
	if joliet == nil {
		shortNames(named)
	}
	return nil
}

// fill puts the content of a file where its record says.
func (s *settler) fill(r record, name string) error {
	content, there := s.files[name]
	place, err := s.read(r.extent(), 0, r.length())
	switch {
	case err != nil:
		return err
	case !there || len(content) != len(place):
		return fmt.Errorf("file %q has %d bytes in the image", name, len(place))
	}
	copy(place, content)
	return nil
}

// settleEntry settles one system use entry.
func settleEntry(e []byte, dir bool) {
	switch string(e[:2]) {
	case "PX": // RRIP section 4.1.1: mode, links, user, group
		links := uint32(1)
		if dir {
			links = 2
		}
		for at, v := range map[int]uint32{12: links, 20: 0, 28: 0} {
			binary.LittleEndian.PutUint32(e[at:], v)
			binary.BigEndian.PutUint32(e[at+4:], v)
		}
	case "TF": // section 4.1.6, in the short form
		for at := 5; at+7 <= len(e); at += 7 {
			copy(e[at:], shortDate(epoch))
		}
	}
}

type namedRecord struct {
	record
	real string
}

// shortNames gives the files whose names go-diskfs had to tell apart new ones of the same length, by the order of their real
// names. Directories keep theirs, which stand in the path tables as well.
func shortNames(list []namedRecord) {
	taken := map[string]bool{}
	var odd []namedRecord
	for _, r := range list {
		if plain := shortName(r.real); r.isDir() || plain == string(r.name()) {
			taken[string(r.name())] = true
		} else {
			odd = append(odd, r)
		}
	}
	slices.SortFunc(odd, func(a, b namedRecord) int { return cmp.Compare(a.real, b.real) })
	for _, r := range odd {
		stem, ext, _ := strings.Cut(string(r.name()), ".")
		want, _, _ := strings.Cut(shortName(r.real), ".")
		want += strings.Repeat("_", max(len(stem)-len(want), 0))
		for n, digits := 0, 1; digits <= len(stem); n++ {
			number := fmt.Sprintf("%0*d", digits, n)
			if len(number) > digits {
				digits++
				n = -1
				continue
			}
			if name := want[:len(stem)-digits] + number + "." + ext; !taken[name] {
				taken[name] = true
				copy(r.name(), name)
				break
			}
		}
	}
}

// shortName is the name of a file that collides with no other (section 7.5.1), as go-diskfs forms it.
func shortName(name string) string {
	stem, ext, _ := strings.Cut(strings.ToUpper(name), ".")
	clean := func(s string, n int) string {
		s = strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
				return r
			}
			return '_'
		}, s)
		return s[:min(len(s), n)]
	}
	return clean(stem, 8) + "." + clean(ext, 3) + ";1"
}

package iso

// record is a directory record (ECMA-119 section 9.1) as bytes, checked by nextRecord.
type record []byte

func (r record) extent() uint32 { return both(r[recordExtent:]) }
func (r record) length() uint32 { return both(r[recordLength:]) }
func (r record) flags() byte    { return r[recordFlags] }
func (r record) isDir() bool    { return r.flags()&flagDir != 0 }

// name is the file identifier's bytes (section 9.1.11).
func (r record) name() []byte { return r[recordName : recordName+int(r[recordNameLen])] }

// isDot reports whether it stands for the directory itself or its parent (section 6.8.2.2).
func (r record) isDot() bool { n := r.name(); return len(n) == 1 && n[0] <= 1 }

// systemUse is what follows the identifier and its padding (section 9.1.13).
func (r record) systemUse() []byte {
	at := recordName + int(r[recordNameLen])
	at += at % 2
	if at >= len(r) {
		return nil
	}
	return r[at:]
}

// nextRecord cuts the first record at or after off from a directory's bytes, and returns where the next one may begin; nil when
// there is none. A record doesn't cross a sector's end: a zero length says that the rest of the sector is empty (section
// 6.8.1.1).
func nextRecord(dir []byte, off int) (r record, next int, err error) {
	for off < len(dir) {
		n := int(dir[off])
		if n == 0 {
			off = (off/Sector + 1) * Sector
			continue
		}
		switch {
		case n < minRecord || off+n > len(dir) || off/Sector != (off+n-1)/Sector:
			return nil, 0, refuse("a directory record of %d bytes does not fit into its place", n)
		case recordName+int(dir[off+recordNameLen]) > n:
			return nil, 0, refuse("a directory record's name of %d bytes does not fit into its %d bytes", dir[off+recordNameLen], n)
		}
		return record(dir[off : off+n]), off + n, nil
	}
	return nil, len(dir), nil
}

package iso

// findUDF looks through the volume recognition sequence (ECMA-167 section 2/8.3 and 3/9.1) for an NSR descriptor, which
// says that the volume is UDF. On a bridge image the sequence goes on after ISO 9660's descriptors.
func (im *Image) findUDF() (bool, error) {
	inside := false
	for i := range int64(maxDescriptors) {
		off := (systemArea + i) * Sector
		if off+Sector > im.fileSize {
			return false, nil
		}
		b, err := im.read(off, 7)
		if err != nil {
			return false, err
		}
		switch string(b[1:6]) {
		case standardID, "BOOT2":
		case "BEA01":
			inside = true
		case "NSR02", "NSR03":
			return inside, nil
		default:
			return false, nil
		}
	}
	return false, nil
}

package iso

import "bytes"

// sniff names what a file is that is no image, by its first bytes: a mistake in a URL mostly gives one of these.
func sniff(head []byte) string {
	trimmed := bytes.ToLower(bytes.TrimLeft(head, " \t\r\n\xef\xbb\xbf"))
	for _, known := range []struct{ magic, what string }{
		{"<!doctype html", "an HTML page"},
		{"<html", "an HTML page"},
		{"<head", "an HTML page"},
		{"<?xml", "an XML document"},
		{"{", "a JSON or text file"},
	} {
		if bytes.HasPrefix(trimmed, []byte(known.magic)) {
			return known.what
		}
	}
	for _, known := range []struct{ magic, what string }{
		{"QFI\xfb", "a qcow2 image"},
		{"\x1f\x8b", "a gzip file"},
		{"\xfd7zXZ\x00", "an xz file"},
		{"BZh", "a bzip2 file"},
		{"PK\x03\x04", "a zip file"},
		{"\x28\xb5\x2f\xfd", "a zstd file"},
		{"KDMV", "a VMDK image"},
		{"conectix", "a VHD image"},
		{"vhdxfile", "a VHDX image"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return known.what
		}
	}
	return ""
}

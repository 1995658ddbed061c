package qemu

import (
	"strings"
	"testing"
)

// at returns what lies at off in a file whose other bytes are zeros.
func at(off int, what string) string { return strings.Repeat("\x00", off) + what }

func TestDetect(t *testing.T) {
	for name, tc := range map[string]struct {
		header string
		want   Format
	}{
		"nothing":                    {"", Raw},
		"zeros":                      {at(512, ""), Raw},
		"a boot sector":              {at(510, "\x55\xaa"), Raw},
		"qcow2":                      {"QFI\xfb\x00\x00\x00\x03", QCOW2},
		"qcow":                       {"QFI\xfb\x00\x00\x00\x01", QCOW2}, // refused by its version
		"a part of a magic":          {"QFI", Raw},
		"vmdk":                       {"KDMV\x01\x00\x00\x00", VMDK},
		"vmdk, ESX":                  {"COWD\x01\x00\x00\x00", VMDK},
		"vmdk, seSparse":             {"\xbe\xba\xfe\xca\x00\x00\x00\x00", VMDK},
		"a Java class":               {"\xca\xfe\xba\xbe\x00\x00\x00\x00", Raw},
		"vmdk descriptor":            {"# Disk DescriptorFile\nversion=1\n", VMDK},
		"vmdk descriptor in DOS":     {"# disk descriptorfile\r\nversion=1\r\n", VMDK},
		"vmdk descriptor, other":     {"# made by hand\n\n  \r\nversion=3\r\n", VMDK},
		"a script":                   {"#!/bin/sh\necho\n", Raw},
		"a script, version":          {"#!/bin/sh\nversion=12\n", Raw},
		"vdi":                        {at(64, "\x7f\x10\xda\xbe"), VDI},
		"vdi, cut off":               {at(64, "\x7f\x10\xda"), Raw},
		"vhd":                        {"conectix\x00\x00", VPC},
		"vhdx":                       {"vhdxfile\x00\x00", VHDX},
		"luks":                       {"LUKS\xba\xbe\x00\x02", LUKS},
		"qed":                        {"QED\x00", QED},
		"parallels":                  {"WithoutFreeSpace", Parallels},
		"parallels extended":         {"WithouFreSpacExt", Parallels},
		"gzip":                       {"\x1f\x8b\x08\x00", Gzip},
		"bzip2":                      {"BZh91AY&SY", Bzip2},
		"not bzip2":                  {"BZh, said the bee", Raw},
		"xz":                         {"\xfd7zXZ\x00", XZ},
		"zstd":                       {"\x28\xb5\x2f\xfd", Zstd},
		"zip":                        {"PK\x03\x04", Zip},
		"tar":                        {at(257, "ustar\x0000"), Tar},
		"iso":                        {at(32769, "CD001\x01"), ISO},
		"iso, shortest":              {at(32769, "CD001"), ISO},
		"iso, cut off":               {at(32769, "CD00"), Raw},
		"iso with a partition table": {at(510, "\x55\xaa") + strings.Repeat("\x00", 32769-512) + "CD001", ISO},
		"html":                       {"\n  <!DOCTYPE html>\n<html>", HTML},
		"html, short":                {"<HTML>", HTML},
		"html with a mark":           {"\xef\xbb\xbf<html>", HTML},
		"xml":                        {"<?xml version=\"1.0\"?><Error/>", HTML},
		"a less-than sign":           {"<", Raw},
	} {
		t.Run(name, func(t *testing.T) {
			got := Detect([]byte(tc.header))
			if got != tc.want {
				t.Fatalf("it is %s, want %s", got, tc.want)
			}
			if got.sentence() == "" {
				t.Fatalf("nothing is said of %s", got)
			}
		})
	}
}

func FuzzDetect(f *testing.F) {
	for _, m := range magics {
		f.Add([]byte(at(m.offset, m.magic)))
	}
	f.Add([]byte("# Disk DescriptorFile\nversion=1\n"))
	f.Add([]byte(" <!doctype html>"))
	f.Add([]byte(at(64, "\x7f\x10\xda\xbe")))
	f.Fuzz(func(t *testing.T, header []byte) {
		got := Detect(header)
		if images[got] == "" && others[got] == "" {
			t.Fatalf("Detect returned %q", got)
		}
		if DetectLen < len(header) && Detect(header[:DetectLen]) != got {
			t.Fatal("it used more than DetectLen bytes")
		}
	})
}

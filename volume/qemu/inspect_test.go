package qemu

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// inspectFile inspects a file that must pass.
func inspectFile(t testing.TB, path string, o InspectOptions) Inspection {
	t.Helper()
	in, err := tryInspect(t, path, o)
	if err != nil {
		t.Fatalf("Inspect: %v", err)
	}
	return in
}

func tryInspect(t testing.TB, path string, o InspectOptions) (Inspection, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return Inspect(f, st.Size(), o)
}

// inspectBytes inspects an image in memory.
func inspectBytes(b []byte, o InspectOptions) (Inspection, error) {
	return Inspect(bytes.NewReader(b), int64(len(b)), o)
}

// refusals is a table of images that must be refused with a sentence that holds want.
type refusals map[string]struct {
	image []byte
	want  string
}

func (table refusals) run(t *testing.T, o InspectOptions) {
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			in, err := inspectBytes(tc.image, o)
			if err == nil {
				t.Fatalf("it passes as %+v", in)
			}
			wantCode(t, err, fault.ImageRefused)
			if !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %q, want %q", err, tc.want)
			}
		})
	}
}

// golden reads an image that the real qemu-img made.
func golden(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// changed returns a copy of an image with value at off; a negative off counts from the end.
func changed(b []byte, off int, value ...byte) []byte {
	b = bytes.Clone(b)
	if off < 0 {
		off += len(b)
	}
	copy(b[off:], value)
	return b
}

func TestInspectFormats(t *testing.T) {
	raw := make([]byte, 100<<10)
	gzip := append([]byte("\x1f\x8b\x08"), raw...)
	iso := bytes.Clone(raw)
	copy(iso[isoOffset:], isoMagic)
	for name, tc := range map[string]struct {
		image []byte
		said  Format
		want  Inspection
		no    string // or the sentence
	}{
		"raw":                 {raw, Raw, Inspection{Raw, 100 << 10, 0}, ""},
		"raw, not said":       {raw, "", Inspection{Raw, 100 << 10, 0}, ""},
		"raw, odd":            {raw[:1000], Raw, Inspection{Raw, 1024, 0}, ""},
		"an ISO":              {iso, Raw, Inspection{Raw, 100 << 10, 0}, ""},
		"an ISO, not said":    {iso, "", Inspection{Raw, 100 << 10, 0}, ""},
		"an ISO as ISO":       {iso, ISO, Inspection{}, "said to be in the format \"iso\""},
		"qcow2":               {newQCOW2(nil), QCOW2, Inspection{QCOW2, 1 << 30, 0}, ""},
		"qcow2, not said":     {newQCOW2(nil), "", Inspection{QCOW2, 1 << 30, 0}, ""},
		"qcow2 as raw":        {newQCOW2(nil), Raw, Inspection{}, "said to be in raw format and is in qcow2 format"},
		"qcow2 as VDI":        {newQCOW2(nil), VDI, Inspection{}, "said to be in VDI format and is in qcow2 format"},
		"raw as qcow2":        {raw, QCOW2, Inspection{}, "bears no sign"},
		"empty":               {nil, Raw, Inspection{}, "empty"},
		"gzip":                {gzip, Raw, Inspection{}, "gzip: unpack it first"},
		"gzip as qcow2":       {gzip, QCOW2, Inspection{}, "gzip: unpack it first"},
		"a page":              {[]byte("<html>404"), "", Inspection{}, "HTML"},
		"luks":                {append([]byte("LUKS\xba\xbe"), raw...), Raw, Inspection{}, "encrypted"},
		"vmdk as raw":         {append([]byte("KDMV"), raw...), Raw, Inspection{}, "is in VMDK format"},
		"vmdk as raw, text":   {[]byte("# Disk DescriptorFile\n"), Raw, Inspection{}, "is in VMDK format"},
		"fixed VHD as raw":    {golden(t, image(t, VPC, 1<<20, "-o", "subformat=fixed")), Raw, Inspection{}, "is in VHD format"},
		"an unknown format":   {raw, "qcow", Inspection{}, "known"},
		"over the limit":      {make([]byte, 1<<20+1), Raw, Inspection{}, "at most 1048576"},
		"over the limit, big": {newQCOW2(nil), QCOW2, Inspection{}, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			most := int64(1 << 30)
			if tc.no != "" {
				most = 1 << 20
			}
			got, err := inspectBytes(tc.image, InspectOptions{Format: tc.said, MaxSize: most})
			if tc.no != "" {
				wantCode(t, err, fault.ImageRefused)
				if !strings.Contains(err.Error(), tc.no) {
					t.Fatalf("error is %q, want %q", err, tc.no)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("it is %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
	if _, err := Inspect(bytes.NewReader(nil), math.MaxInt64, InspectOptions{}); !fault.Is(err, fault.ImageRefused) {
		t.Errorf("the largest file: %v", err)
	}
}

// What the real qemu-img makes passes or is refused for what it is.
func TestInspectReal(t *testing.T) {
	const size = 64 << 20
	dir := t.TempDir()
	snapshots := image(t, QCOW2, size)
	for _, name := range []string{"one", "two", strings.Repeat("three", 100)} {
		qemuImg(t, "snapshot", "-c", name, snapshots)
	}
	bitmaps := image(t, QCOW2, size)
	qemuImg(t, "bitmap", "--add", bitmaps, "one")
	for name, tc := range map[string]struct {
		path string
		f    Format
		want Inspection
		no   string
	}{
		"qcow2":             {image(t, QCOW2, size), QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, old":        {image(t, QCOW2, size, "-o", "compat=0.10"), QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, tiny":       {image(t, QCOW2, size, "-o", "cluster_size=512"), QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, huge":       {image(t, QCOW2, size, "-o", "cluster_size=2M,refcount_bits=64"), QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, lazy":       {image(t, QCOW2, size, "-o", "lazy_refcounts=on,preallocation=metadata"), QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, snapshots":  {snapshots, QCOW2, Inspection{QCOW2, size, 3}, ""},
		"qcow2, bitmaps":    {bitmaps, QCOW2, Inspection{QCOW2, size, 0}, ""},
		"qcow2, 1 PiB":      {image(t, QCOW2, 1<<50), QCOW2, Inspection{}, "at most"},
		"raw, 1 PiB":        {image(t, Raw, 1<<43), Raw, Inspection{}, "at most"},
		"vmdk":              {image(t, VMDK, size), VMDK, Inspection{VMDK, size, 0}, ""},
		"vmdk, stream":      {image(t, VMDK, size, "-o", "subformat=streamOptimized"), VMDK, Inspection{VMDK, size, 0}, ""},
		"vmdk, flat":        {image(t, VMDK, size, "-o", "subformat=monolithicFlat"), VMDK, Inspection{}, "in one file"},
		"vmdk, in parts":    {image(t, VMDK, size, "-o", "subformat=twoGbMaxExtentSparse"), VMDK, Inspection{}, "in one file"},
		"vdi":               {image(t, VDI, size), VDI, Inspection{VDI, size, 0}, ""},
		"vdi, fixed":        {image(t, VDI, size, "-o", "static=on"), VDI, Inspection{VDI, size, 0}, ""},
		"vhd, by geometry":  {image(t, VPC, size), VPC, Inspection{VPC, 67125248, 0}, ""},
		"vhd, by size":      {image(t, VPC, size, "-o", "force_size=on"), VPC, Inspection{VPC, size, 0}, ""},
		"vhd, fixed":        {image(t, VPC, size, "-o", "force_size=on,subformat=fixed"), VPC, Inspection{VPC, size, 0}, ""},
		"vhd, 200 GiB":      {image(t, VPC, 200<<30), VPC, Inspection{VPC, 200 << 30, 0}, ""},
		"vhdx":              {image(t, VHDX, size), VHDX, Inspection{VHDX, size, 0}, ""},
		"vhdx, fixed":       {image(t, VHDX, size, "-o", "subformat=fixed"), VHDX, Inspection{VHDX, size, 0}, ""},
		"qed":               {image(t, QED, size), "", Inspection{}, "QED"},
		"parallels":         {image(t, Parallels, size), "", Inspection{}, "Parallels"},
		"qcow":              {image(t, "qcow", size), QCOW2, Inspection{}, "version"},
		"on /etc/passwd":    {image(t, QCOW2, size, "-u", "-b", "/etc/passwd", "-F", "raw"), QCOW2, Inspection{}, `backing file "/etc/passwd"`},
		"on json":           {image(t, QCOW2, size, "-u", "-b", `json:{"driver":"file","filename":"/etc/passwd"}`, "-F", "raw"), QCOW2, Inspection{}, "backing file"},
		"on the network":    {image(t, QCOW2, size, "-u", "-b", "nbd://127.0.0.1/", "-F", "raw"), QCOW2, Inspection{}, "backing file"},
		"vmdk on a parent":  {image(t, VMDK, size, "-u", "-b", image(t, VMDK, size), "-F", "vmdk"), VMDK, Inspection{}, "parent"},
		"data elsewhere":    {image(t, QCOW2, size, "-o", "data_file="+dir+"/data.raw"), QCOW2, Inspection{}, "external file"},
		"data elsewhere, 2": {image(t, QCOW2, size, "-o", "data_file_raw=on,data_file="+dir+"/data.raw"), QCOW2, Inspection{}, "external file"},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := tryInspect(t, tc.path, InspectOptions{Format: tc.f, MaxSize: 1 << 40})
			if tc.no != "" {
				wantCode(t, err, fault.ImageRefused)
				if !strings.Contains(err.Error(), tc.no) {
					t.Fatalf("error is %q, want %q", err, tc.no)
				}
				return
			}
			if err != nil || in != tc.want {
				t.Fatalf("it is %+v, %v, want %+v", in, err, tc.want)
			}
			// QEMU sees the same.
			info, err := realTool(t).Info(t.Context(), Image{Path: tc.path, Format: tc.f})
			if err != nil || info.VirtualSize != in.VirtualSize || info.Snapshots != in.Snapshots {
				t.Fatalf("qemu-img says %+v, %v", info, err)
			}
		})
	}
}

func TestInspectQCOW2Refuses(t *testing.T) {
	be := binary.BigEndian
	qcow2 := func(change func(b []byte)) []byte { return newQCOW2(change) }
	// snapshot puts the table of one snapshot where the L1 table of the image is, in the last cluster.
	snapshot := func(change func(b, entry []byte)) []byte {
		return newQCOW2(func(b []byte) {
			be.PutUint32(b[60:], 1)
			be.PutUint64(b[64:], 2<<16)
			entry := b[2<<16:]
			be.PutUint64(entry, 3<<16)
			be.PutUint32(entry[8:], 2)
			be.PutUint16(entry[12:], 1)
			be.PutUint16(entry[14:], 3)
			be.PutUint32(entry[36:], 16)
			if change != nil {
				change(b, entry)
			}
		})
	}
	if in, err := inspectBytes(snapshot(nil), InspectOptions{}); err != nil || in.Snapshots != 1 {
		t.Fatalf("a snapshot in order: %+v, %v", in, err)
	}
	garbage := func(b, entry []byte) {
		for i := range entry[:64<<10] {
			entry[i] = byte(i*7 + 13)
		}
	}
	refusals{
		"no size":                  {qcow2(func(b []byte) { clear(b[24:32]) }), "virtual size is 0"},
		"half a sector":            {qcow2(func(b []byte) { b[31], b[39] = 1, 3 }), "multiple of 512"},
		"1 PiB":                    {qcow2(func(b []byte) { be.PutUint64(b[24:], 1<<50); be.PutUint32(b[36:], 1<<21) }), "its L1 table lies outside"},
		"a backing file":           {qcow2(func(b []byte) { backing(b, 1024, "/etc/passwd") }), `backing file "/etc/passwd"`},
		"a backing file, no name":  {qcow2(func(b []byte) { backing(b, 1024, "") }), "backing file"},
		"a data file":              {qcow2(func(b []byte) { b[79] = 4 }), "external file"},
		"a data file, hidden":      {qcow2(func(b []byte) { extension(b, 112, extDataFile, "/etc/passwd") }), `external file, "/etc/passwd"`},
		"AES":                      {qcow2(func(b []byte) { b[35] = 1 }), "encrypted"},
		"LUKS":                     {qcow2(func(b []byte) { b[35] = 2 }), "encrypted"},
		"LUKS, hidden":             {qcow2(func(b []byte) { extension(b, 112, extCrypto, strings.Repeat("\x00", 16)) }), "encrypted"},
		"dirty":                    {qcow2(func(b []byte) { b[79] = 1 }), "dirty"},
		"corrupt":                  {qcow2(func(b []byte) { b[79] = 2 }), "corrupt"},
		"corrupt and dirty":        {qcow2(func(b []byte) { b[79] = 3 }), "corrupt"},
		"an unknown feature":       {qcow2(func(b []byte) { b[79] = 32 }), "bits 0x20"},
		"the last feature":         {qcow2(func(b []byte) { b[72] = 0x80 }), "bits 0x8000000000000000"},
		"an unknown compression":   {qcow2(func(b []byte) { b[79], b[104] = 8, 2 }), "compression 2"},
		"small clusters, extended": {qcow2(func(b []byte) { b[79], b[23] = 16, 13 }), "too small for its extended"},
		"no reference counts":      {qcow2(func(b []byte) { b[59] = 0 }), "reference count table has 0"},
		"many reference counts":    {qcow2(func(b []byte) { b[58] = 1 }), "reference count table has 257"},
		"reference counts, where":  {qcow2(func(b []byte) { b[55] = 1 }), "does not begin where a cluster does"},
		"reference counts, out":    {qcow2(func(b []byte) { b[48] = 0xff }), "reference count table lies outside"},
		"reference counts, header": {qcow2(func(b []byte) { b[53] = 0 }), "reference count table lies in the header"},
		"L1, too small":            {qcow2(func(b []byte) { b[39] = 1 }), "too few"},
		"L1, too large":            {qcow2(func(b []byte) { b[36] = 1 }), "L1 table has 16777218 entries"},
		"L1, where":                {qcow2(func(b []byte) { b[47] = 8 }), "does not begin where a cluster does"},
		"L1, out":                  {qcow2(func(b []byte) { b[45] = 4 }), "L1 table lies outside"},
		"L1, in the header":        {qcow2(func(b []byte) { b[45] = 0 }), "L1 table lies in the header"},
		"many snapshots":           {qcow2(func(b []byte) { b[60] = 1 }), "snapshots inside: at most 1024"},
		"snapshots, in the header": {qcow2(func(b []byte) { b[63] = 1 }), "snapshot table lies in the header"},
		"snapshots, out":           {snapshot(func(b, _ []byte) { b[69] = 4 }), "snapshot table lies outside"},
		"snapshots, where":         {snapshot(func(b, _ []byte) { b[71] = 8 }), "does not begin where a cluster does"},
		"garbage":                  {snapshot(garbage), "snapshot table is damaged"},
		"one more":                 {snapshot(func(b, _ []byte) { b[63] = 2 }), "snapshot 2"},
		"a snapshot's L1, where":   {snapshot(func(_, e []byte) { e[7] = 8 }), "snapshot table is damaged"},
		"a snapshot's L1, out":     {snapshot(func(_, e []byte) { e[3] = 1 }), "L1 table of its snapshot 1 lies outside"},
		"a snapshot's L1, large":   {snapshot(func(_, e []byte) { e[8] = 1 }), "snapshot table is damaged"},
		"a snapshot, little extra": {snapshot(func(_, e []byte) { e[39] = 8 }), "8 bytes of extra data"},
		"a snapshot, much extra":   {snapshot(func(_, e []byte) { e[38] = 8 }), "2064 bytes of extra data"},
		"a snapshot's name, out": {snapshot(func(b, e []byte) {
			copy(b[3<<16+1<<15:], e[:40])
			be.PutUint64(b[64:], 3<<16)
			copy(b[3<<16:], e[:40])
			be.PutUint16(b[3<<16+14:], math.MaxUint16)
		}), "snapshot table: it is cut off"},
	}.run(t, InspectOptions{Format: QCOW2})

	t.Run("cut off anywhere", func(t *testing.T) {
		whole := golden(t, image(t, QCOW2, 1<<30))
		for n := range len(whole) {
			if n > 1000 && n%997 != 0 {
				continue
			}
			if in, err := inspectBytes(whole[:n], InspectOptions{Format: QCOW2}); err == nil {
				t.Fatalf("%d of %d bytes pass as %+v", n, len(whole), in)
			}
		}
	})
}

func TestInspectVMDKRefuses(t *testing.T) {
	sparse := golden(t, filled(t, VMDK, pattern(1<<20)))
	stream := golden(t, filled(t, VMDK, pattern(1<<20), "-o", "subformat=streamOptimized"))
	// atEnd is stream as VMware writes it: the header leaves the tables to a footer.
	footer := make([]byte, 3*512)
	footer[12] = vmdkFooterMarker
	copy(footer[512:], stream[:512])
	atEnd := append(changed(stream, 56, bytes.Repeat([]byte{0xff}, 8)...), footer...)
	if in, err := inspectBytes(atEnd, InspectOptions{Format: VMDK}); err != nil || in.VirtualSize != 1<<20 {
		t.Fatalf("with a footer: %+v, %v", in, err)
	}
	path := writeFile(t, "a.vmdk", atEnd)
	if info, err := realTool(t).Info(t.Context(), Image{Path: path, Format: VMDK}); err != nil || info.VirtualSize != 1<<20 {
		t.Fatalf("qemu-img says %+v, %v", info, err)
	}
	text := func(descriptor string) []byte {
		b := changed(sparse, 512, make([]byte, 20*512)...)
		copy(b[512:], descriptor)
		return b
	}
	head := "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
	whole := head + "parentCID=ffffffff\ncreateType=\"monolithicSparse\"\nRW 2048 SPARSE \"a b.vmdk\"\n"
	if _, err := inspectBytes(text(whole), InspectOptions{Format: VMDK}); err != nil {
		t.Fatalf("a descriptor in order: %v", err)
	}
	refusals{
		"a descriptor alone": {[]byte("# Disk DescriptorFile\nversion=1\nRW 10 FLAT \"/etc/passwd\" 0\n"), "in one file"},
		"for ESX":            {append([]byte("COWD"), make([]byte, 1024)...), "in one file"},
		"seSparse":           {append([]byte("\xbe\xba\xfe\xca\x00\x00\x00\x00"), make([]byte, 1024)...), "in one file"},
		"a header alone":     {sparse[:100], "cut off"},
		"version 0":          {changed(sparse, 4, 0), "version"},
		"version 4":          {changed(sparse, 4, 4), "version"},
		"sent as text":       {changed(sparse, 75, '\n'), "line ends"},
		"not closed":         {changed(sparse, 72, 1), "not closed"},
		"compression":        {changed(sparse, 77, 2), "compression"},
		// With no capacity QEMU follows the descriptor, wherever that is.
		"no capacity":           {changed(sparse, 12, make([]byte, 8)...), "virtual size is 0"},
		"endless":               {changed(sparse, 12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "entries"},
		"no grains":             {changed(sparse, 20, 0), "grains"},
		"odd grains":            {changed(sparse, 20, 3), "grains"},
		"huge grains":           {changed(sparse, 23, 1), "grains"},
		"no tables":             {changed(sparse, 44, 0, 0), "tables"},
		"large tables":          {changed(sparse, 44, 1, 2), "tables"},
		"directory, out":        {changed(sparse, 60, 1), "grain directory lies outside"},
		"directory, far":        {changed(sparse, 63, 0x80), "grain directory"},
		"directory, header":     {changed(sparse, 56, make([]byte, 8)...), "grain directory lies in the header"},
		"redundant, out":        {changed(sparse, 52, 1), "grain directory lies outside"},
		"descriptor elsewhere":  {changed(sparse, 28, 2), "second sector"},
		"descriptor of nothing": {changed(sparse, 36, 0), "second sector"},
		"descriptor too long":   {changed(sparse, 36, 129), "second sector"},
		"a parent's id":         {text(strings.Replace(whole, "ffffffff", "12345678", 1)), "parent"},
		"no parent's id":        {text(strings.Replace(whole, "parentCID", "parent", 1)), "parent"},
		"two parent's ids":      {text(whole + "parentCID=12345678\n"), "twice"},
		"a parent's name":       {text(whole + "parentFileNameHint=\"/etc/passwd\"\n"), "parent"},
		"a name in a comment":   {text(whole + "#parentFileNameHint=\"/etc/passwd\"\n"), "parent"},
		"a name behind the end": {text(whole + "\x00parentFileNameHint=\"/etc/passwd\"\n"), "parent"},
		"another kind":          {text(strings.Replace(whole, "monolithicSparse", "twoGbMaxExtentSparse", 1)), "kind"},
		"two kinds":             {text(whole + "createType=\"custom\"\n"), "twice"},
		"no kind":               {text(strings.Replace(whole, "createType", "type", 1)), "kind"},
		"no extent":             {text(strings.Replace(whole, "RW", "##", 1)), "no extent"},
		"two extents":           {text(whole + "RW 2048 SPARSE \"b.vmdk\"\n"), "several extents"},
		"a flat extent":         {text(strings.Replace(whole, "SPARSE", "FLAT", 1)), "not in the image"},
		"a flat extent, tabs":   {text(strings.Replace(whole, "RW 2048 SPARSE", "RDONLY\t2048  FLAT", 1)), "not in the image"},
		"an extent, no name":    {text(strings.Replace(whole, "\"a b.vmdk\"", "", 1)), "not in the image"},
		"an extent, empty name": {text(strings.Replace(whole, "a b.vmdk", "", 1)), "another file"},
		"/etc/passwd":           {text(strings.Replace(whole, "a b.vmdk", "/etc/passwd", 1)), `another file, "/etc/passwd"`},
		"a name up":             {text(strings.Replace(whole, "a b.vmdk", `..\\a.vmdk`, 1)), "another file"},
		"footer, cut off":       {atEnd[:len(atEnd)-512], "footer"},
		"footer, odd":           {atEnd[:len(atEnd)-1], "footer"},
		"footer, no marker":     {changed(atEnd, -3*512+12, 0), "footer"},
		"footer, no end":        {changed(atEnd, -512+8, 1), "footer"},
		"footer, no header":     {changed(atEnd, -1024, 'x'), "in one file"},
		"footer, another size":  {changed(atEnd, -1024+14, 1), "disagree"},
		"footer, at the end":    {changed(atEnd, -1024+56, bytes.Repeat([]byte{0xff}, 8)...), "does not say where"},
	}.run(t, InspectOptions{Format: VMDK})
}

func TestInspectVDIRefuses(t *testing.T) {
	vdi := golden(t, filled(t, VDI, pattern(3<<20)))
	refusals{
		"cut off":            {vdi[:400], "cut off"},
		"data cut off":       {vdi[:len(vdi)-512], "its data lies outside"},
		"version":            {changed(vdi, 68, 0), "version of VDI is 1.0"},
		"undo":               {changed(vdi, 76, 3), "type 3"},
		"differencing":       {changed(vdi, 76, 4), "type 4"},
		"a link":             {changed(vdi, 424, 1), "parent"},
		"a parent":           {changed(vdi, 455, 1), "parent"},
		"sectors":            {changed(vdi, 361, 0x10), "sectors"},
		"blocks":             {changed(vdi, 378, 0x20), "blocks"},
		"map, odd":           {changed(vdi, 340, 1), "does not begin where a sector does"},
		"data, odd":          {changed(vdi, 344, 1), "does not begin where a sector does"},
		"map, header":        {changed(vdi, 340, 0, 0), "block map lies in the header"},
		"map, out":           {changed(vdi, 343, 1), "block map lies outside"},
		"data, out":          {changed(vdi, 347, 1), "its data lies outside"},
		"too many blocks":    {changed(vdi, 387, 0x40), "does not fit"},
		"blocks in use":      {changed(vdi, 388, 200), "does not fit"},
		"too large":          {changed(vdi, 371, 1), "does not fit"},
		"no size":            {changed(vdi, 368, make([]byte, 8)...), "virtual size is 0"},
		"map for 4 GiB":      {changed(vdi, 384, 0xff, 0xff, 0xff, 0x3f), "block map lies outside"},
		"as large as can be": {changed(vdi, 368, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "does not fit"},
	}.run(t, InspectOptions{Format: VDI})
	odd := changed(vdi, 368, 1, 0, 0x20) // 2 MiB and a byte: VBoxManage makes such
	if in, err := inspectBytes(odd, InspectOptions{Format: VDI}); err != nil || in.VirtualSize != 2<<20+512 {
		t.Fatalf("an odd size: %+v, %v", in, err)
	}
}

func TestInspectVHDRefuses(t *testing.T) {
	dynamic := golden(t, filled(t, VPC, pattern(3<<20), "-o", "force_size=on"))
	fixed := golden(t, filled(t, VPC, pattern(3<<20), "-o", "force_size=on,subformat=fixed"))
	// footers changes the footer, and the header where there is one, and makes their checksums right again.
	footers := func(b []byte, off int, value ...byte) []byte {
		ends := []int{len(b) - 512}
		if bytes.HasPrefix(b, []byte(vhdCookie)) {
			ends = append(ends, 0)
		}
		for _, at := range ends {
			b = changed(b, at+off, value...)
			binary.BigEndian.PutUint32(b[at+64:], vhdChecksum(b[at:at+512], 64))
		}
		return b
	}
	// header changes the dynamic disk header likewise.
	header := func(off int, value ...byte) []byte {
		b := changed(dynamic, 512+off, value...)
		binary.BigEndian.PutUint32(b[512+36:], vhdChecksum(b[512:1536], 36))
		return b
	}
	refusals{
		"dynamic, cut off":          {dynamic[:len(dynamic)-512], "footer"},
		"dynamic, tiny":             {dynamic[:100], "footer"},
		"dynamic, footer damaged":   {changed(dynamic, -100, 1), "footer"},
		"dynamic, header damaged":   {changed(dynamic, 100, 1), "disagree"},
		"dynamic, header differs":   {footers(changed(dynamic, 48, 1), 85, 0)[:len(dynamic)], "disagree"},
		"dynamic as fixed":          {footers(dynamic, 60, 0, 0, 0, 2), "type 2"},
		"fixed as dynamic":          {footers(fixed, 60, 0, 0, 0, 3), "type 3"},
		"differencing":              {footers(dynamic, 60, 0, 0, 0, 4), "differencing"},
		"fixed, differencing":       {footers(fixed, 60, 0, 0, 0, 4), "differencing"},
		"fixed, larger than it is":  {footers(fixed, 48, 0, 0, 0, 0, 1), "its data"},
		"fixed, endless":            {footers(fixed, 48, 0xff), "more than there can be"},
		"fixed, beginning as other": {changed(fixed, 0, []byte(vhdCookie)...), "disagree"},
		"no size":                   {footers(dynamic, 48, make([]byte, 8)...), "virtual size is 0"},
		"endless":                   {footers(dynamic, 48, 0xff), "more than there can be"},
		"larger than it is":         {footers(dynamic, 48, 0, 1), "too few"},
		"header, out":               {footers(dynamic, 16, 0, 0, 1), "VHD header"},
		"header, far":               {footers(dynamic, 16, 0xff), "VHD header"},
		"header, damaged":           {changed(dynamic, 512+20, 1), "damaged"},
		"header, no cookie":         {header(0, 'x'), "damaged"},
		"header, a parent":          {header(40, 1), "parent"},
		"header, odd blocks":        {header(35, 1), "power of two"},
		"header, tiny blocks":       {header(32, 0, 0, 1, 0), "power of two"},
		"header, few entries":       {header(28, 0, 0, 0, 1), "too few"},
		"table, out":                {header(16, 0, 0, 1), "block table lies outside"},
		"table, header":             {header(16, make([]byte, 8)...), "block table lies in the header"},
		"table, endless":            {header(28, 0xff, 0xff, 0xff, 0xff), "block table lies outside"},
	}.run(t, InspectOptions{Format: VPC})
}

func TestInspectVHDXRefuses(t *testing.T) {
	whole := golden(t, filled(t, VHDX, pattern(1<<20), "-o", "block_size=1M"))
	// sum makes the checksum of n bytes at off right again.
	sum := func(b []byte, off, n int) []byte {
		piece := b[off : off+n]
		binary.LittleEndian.PutUint32(piece[4:], vhdxSum(piece))
		return b
	}
	headers := func(off int, value ...byte) []byte {
		b := changed(changed(whole, vhdxHeader1+off, value...), vhdxHeader2+off, value...)
		return sum(sum(b, vhdxHeader1, vhdxHeaderLen), vhdxHeader2, vhdxHeaderLen)
	}
	regions := func(off int, value ...byte) []byte {
		return sum(changed(whole, vhdxRegions+off, value...), vhdxRegions, vhdxTableLen)
	}
	_, metadata, err := parseVHDXRegions(whole[vhdxRegions:][:vhdxTableLen])
	if err != nil {
		t.Fatal(err)
	}
	meta := func(off int, value ...byte) []byte { return changed(whole, int(metadata.offset)+off, value...) }
	// entry finds where the table describes an item, and item where the item is.
	entry := func(id string) int {
		off := bytes.Index(whole[metadata.offset:], []byte(id))
		if off < 0 {
			t.Fatalf("there is no item %x", id)
		}
		return off
	}
	item := func(id string) int {
		return int(binary.LittleEndian.Uint32(whole[int(metadata.offset)+entry(id)+16:]))
	}
	regionOf := func(id string) int { return bytes.Index(whole[vhdxRegions:], []byte(id)) }

	one := sum(changed(whole, vhdxHeader1, 'x'), vhdxHeader1, vhdxHeaderLen)
	if _, err := inspectBytes(one, InspectOptions{Format: VHDX}); err != nil {
		t.Fatalf("with one header: %v", err)
	}
	same := bytes.Clone(whole)
	copy(same[vhdxHeader1:][:vhdxHeaderLen], same[vhdxHeader2:])
	if _, err := inspectBytes(same, InspectOptions{Format: VHDX}); err != nil {
		t.Fatalf("with two headers that are the same: %v", err)
	}
	refusals{
		"cut off":             {whole[:vhdxHeader2], "VHDX header"},
		"cut off, later":      {whole[:1<<20], "outside"},
		"no header":           {changed(changed(whole, vhdxHeader1+100, 1), vhdxHeader2+100, 1), "header is damaged"},
		"header, version":     {headers(66, 2), "header is damaged"},
		"header, which":       {headers(8, 7, 0, 0, 0, 0, 0, 0, 0), "header is damaged"},
		"a log":               {headers(48, 1), "log is not empty"},
		"regions, damaged":    {changed(whole, vhdxRegions+100, 1), "region table is damaged"},
		"regions, signature":  {regions(0, 'x'), "region table is damaged"},
		"regions, none":       {regions(8, 0), "region table is damaged"},
		"regions, many":       {regions(8, 0, 8), "region table is damaged"},
		"regions, one":        {regions(8, 1), "region table is damaged"},
		"regions, twice":      {regions(16+32, []byte(vhdxBAT)...), "region table is damaged"},
		"regions, unknown":    {sum(changed(regions(16, 1, 2, 3), vhdxRegions+16+28, 1), vhdxRegions, vhdxTableLen), "not known here"},
		"regions, optional":   {sum(changed(regions(16, 1, 2, 3), vhdxRegions+16+28, 0), vhdxRegions, vhdxTableLen), "region table is damaged"},
		"region, odd":         {regions(regionOf(vhdxMetadata)+16, 1), "region table is damaged"},
		"region, empty":       {regions(regionOf(vhdxMetadata)+24, 0, 0, 0, 0), "region table is damaged"},
		"region, short":       {regions(regionOf(vhdxMetadata)+24, 0, 0x80, 0, 0), "metadata is damaged"},
		"region, out":         {regions(regionOf(vhdxMetadata)+20, 1), "outside"},
		"region, header":      {regions(regionOf(vhdxBAT)+16, 0, 0, 0, 0), "lies in the header"},
		"region, 4 GiB":       {regions(regionOf(vhdxBAT)+24, 0xff, 0xff, 0xff, 0xff), "outside"},
		"metadata, signature": {meta(0, 'x'), "metadata is damaged"},
		"metadata, many":      {meta(10, 0, 8), "metadata is damaged"},
		"metadata, few":       {meta(10, 4), "metadata is damaged"},
		"metadata, twice":     {meta(entry(vhdxPhysSector), []byte(vhdxLogicalSector)...), "metadata is damaged"},
		"metadata, unknown":   {meta(entry(vhdxPhysSector), 1, 2, 3), "not known here"},
		"metadata, optional":  {changed(meta(entry(vhdxPhysSector), 1, 2, 3), int(metadata.offset)+entry(vhdxPhysSector)+24, 0), "metadata is damaged"},
		"a parent locator":    {meta(entry(vhdxPhysSector), []byte(vhdxParentLocator)...), "parent"},
		"a parent":            {meta(item(vhdxParameters)+4, 2), "parent"},
		"item, short":         {meta(entry(vhdxDiskSize)+20, 4), "metadata is damaged"},
		"item, in the table":  {meta(entry(vhdxDiskSize)+16, 0, 0, 0, 0), "metadata is damaged"},
		"item, out":           {meta(entry(vhdxDiskSize)+16, 0xff, 0xff, 0xff, 0xff), "metadata is damaged"},
		"blocks, tiny":        {meta(item(vhdxParameters), 0, 0, 1, 0), "blocks have"},
		"blocks, odd":         {meta(item(vhdxParameters), 0, 0, 0x30, 0), "blocks have"},
		"blocks, huge":        {meta(item(vhdxParameters), 0, 0, 0, 0x20), "blocks have"},
		"sectors":             {meta(item(vhdxLogicalSector), 0, 4), "sectors have"},
		"64 TiB and more":     {meta(item(vhdxDiskSize), 0, 0, 0, 0, 0, 0x41), "VHDX allows"},
		"endless":             {meta(item(vhdxDiskSize), 0, 0, 0, 0, 0, 0, 0, 0xff), "VHDX allows"},
		"half a sector":       {meta(item(vhdxDiskSize), 1), "multiple"},
		"no size":             {meta(item(vhdxDiskSize), make([]byte, 8)...), "virtual size is 0"},
		"too few blocks":      {meta(item(vhdxDiskSize), 0, 0, 0, 0, 0, 0x40), "block table is damaged"},
	}.run(t, InspectOptions{Format: VHDX})
}

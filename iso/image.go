package iso

import (
	"errors"
	"io"

	"elstore/volume/fault"
)

// Image is an ISO 9660 or UDF image that was opened. Its methods may be called at the same time.
type Image struct {
	Label       string // the volume identifier: Joliet's where that is longer
	System      string // system identifier
	Publisher   string
	Application string // application identifier: which program made it
	Size        int64  // of the volume in bytes, as the image says; the file has at least as many
	RockRidge   bool
	Joliet      bool
	UDF         bool   // the image also, or only, is a UDF file system
	Boot        []Boot // El Torito's entries, in their order

	r        io.ReaderAt
	fileSize int64
	block    int64 // size of a logical block in bytes
	root     node
	ucs2     bool // names come from the Joliet tree
	skip     int  // bytes to pass over in each system use field (SUSP section 5.3)

	spent *int64 // bytes of the tree that were read for one walk, nil where nobody counts
}

// node is where a directory's or file's bytes lie.
type node struct {
	extent uint32
	length uint32
}

// maxDescriptors bounds the volume descriptor set; writers use three or four.
const maxDescriptors = 64

// Open reads what an image says of itself. r has size bytes and is read as long as the Image is used. What is neither ISO 9660
// nor UDF, or is cut off, is refused with ImageRefused. The file tree is not looked at; see Check.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	im := &Image{r: r, fileSize: size}
	if size == 0 {
		return nil, refuse("it is empty; an ISO 9660 or UDF image is expected")
	}
	var joliet []byte
	var pvd, boot []byte
scan:
	for i := range int64(maxDescriptors) {
		b, err := im.read((systemArea+i)*Sector, Sector)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				return nil, err
			}
			break
		}
		if string(b[1:6]) != standardID {
			break
		}
		switch b[0] {
		case bootRecord:
			boot = b
		case primary:
			if pvd == nil {
				pvd = b
			}
		case supplementary:
			if joliet == nil && isJoliet(b[atEscapes:]) {
				joliet = b
			}
		case terminator:
			break scan
		}
	}
	udf, err := im.findUDF()
	if err != nil {
		return nil, err
	}
	im.UDF = udf
	switch {
	case pvd == nil && udf:
		im.Size, im.block = size, Sector
		return im, nil
	case pvd == nil:
		return nil, im.foreign()
	}
	return im, im.take(pvd, joliet, boot)
}

// take reads the descriptors that were found.
func (im *Image) take(pvd, joliet, boot []byte) error {
	im.block = int64(pvd[atBlockSize]) | int64(pvd[atBlockSize+1])<<8
	if im.block < 512 || im.block > Sector || im.block&(im.block-1) != 0 {
		return refuse("its logical blocks have %d bytes; allowed are 512, 1024 and 2048", im.block)
	}
	im.Label, im.System = text(pvd[atLabel:atLabel+32]), text(pvd[atSystem:atSystem+32])
	im.Publisher, im.Application = text(pvd[atPublisher:atPublisher+128]), text(pvd[atApplication:atApplication+128])
	im.Size = int64(both(pvd[atSpaceSize:])) * im.block
	if im.Size > im.fileSize {
		return refuse("it is cut off: its volume has %d bytes, and the file only %d", im.Size, im.fileSize)
	}
	if im.Size < (systemArea+2)*Sector {
		return refuse("its volume of %d bytes is too small to be one", im.Size)
	}
	im.root = rootOf(pvd)
	if err := im.findRockRidge(); err != nil {
		return err
	}
	if joliet != nil {
		im.Joliet = true
		if label := ucs2(joliet[atLabel : atLabel+32]); len(label) > len(im.Label) {
			im.Label = label
		}
		if !im.RockRidge {
			im.root, im.ucs2 = rootOf(joliet), true
		}
	}
	if boot == nil {
		return nil
	}
	var err error
	im.Boot, err = im.readBoot(boot)
	return err
}

func rootOf(descriptor []byte) node {
	r := record(descriptor[atRoot : atRoot+minRecord])
	return node{r.extent(), r.length()}
}

// foreign says what the file is instead, where that helps.
func (im *Image) foreign() error {
	head, err := im.read(0, min(im.fileSize, 512))
	if err != nil {
		return err
	}
	if what := sniff(head); what != "" {
		return refuse("it is %s; an ISO 9660 or UDF image is expected", what)
	}
	return refuse("it is neither an ISO 9660 nor a UDF image")
}

// read returns n bytes at off, which must lie in the file.
func (im *Image) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > im.fileSize || n > im.fileSize-off {
		return nil, refuse("it points to byte %d and has only %d", off+n, im.fileSize)
	}
	b := make([]byte, n)
	if m, err := im.r.ReadAt(b, off); m < len(b) {
		if errors.Is(err, io.EOF) {
			return nil, refuse("it ends at byte %d of %d", off+int64(m), im.fileSize)
		}
		return nil, fault.FromOS("read the image", err)
	}
	return b, nil
}

// readBlocks returns length bytes at off of a logical block.
func (im *Image) readBlocks(block, off, length uint32) ([]byte, error) {
	if length > maxDirectory {
		return nil, refuse("a part of its directories has %d bytes; allowed are %d", length, maxDirectory)
	}
	if im.spent != nil {
		if *im.spent += max(int64(length), Sector); *im.spent > maxTree {
			return nil, refuse("its directories have over %d bytes together", maxTree)
		}
	}
	return im.read(int64(block)*im.block+int64(off), int64(length))
}

// findRockRidge looks for the sign of SUSP in the root's first record (SUSP section 5.3) and of Rock Ridge after it.
func (im *Image) findRockRidge() error {
	if im.root.length < minRecord {
		return refuse("its root directory has %d bytes", im.root.length)
	}
	dir, err := im.readBlocks(im.root.extent, 0, min(im.root.length, Sector))
	if err != nil {
		return err
	}
	r, _, err := nextRecord(dir, 0)
	if err != nil || r == nil {
		return err
	}
	use := r.systemUse()
	// CD-ROM XA attributes of 14 bytes may come first.
	for _, at := range []int{0, 14} {
		if len(use) < at+7 || string(use[at:at+2]) != "SP" || use[at+4] != 0xbe || use[at+5] != 0xef {
			continue
		}
		im.skip = int(use[at+6])
		return entries(use[at:], 0, im.readBlocks, func(e []byte) {
			switch string(e[:2]) {
			case "ER", "PX", "RR", "NM":
				im.RockRidge = true
			}
		})
	}
	return nil
}

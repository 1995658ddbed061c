package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The header of VirtualBox's format, as QEMU reads it (block/vdi.c); there is no specification.
const (
	vdiHeaderLen = 512
	vdiVersion   = 0x00010001
	vdiDynamic   = 1
	vdiFixed     = 2
	vdiBlock     = 1 << 20
	vdiMaxBlocks = 0x3fffffff
)

// inspectVDI allows images of dynamic and fixed size that stand alone.
func inspectVDI(s *source) (Inspection, error) {
	b, err := s.at(0, vdiHeaderLen, "the VDI header")
	if err != nil {
		return Inspection{}, err
	}
	le := binary.LittleEndian
	version, kind := le.Uint32(b[68:]), le.Uint32(b[76:])
	mapAt, dataAt, sector := le.Uint32(b[340:]), le.Uint32(b[344:]), le.Uint32(b[360:])
	size, block := le.Uint64(b[368:]), le.Uint32(b[376:])
	blocks, allocated := le.Uint32(b[384:]), le.Uint32(b[388:])
	link, parent := b[424:440], b[440:456]
	switch {
	case version != vdiVersion:
		return Inspection{}, fmt.Errorf("its version of VDI is %d.%d: 1.1 is known", version>>16, version&0xffff)
	case !zeros(link) || !zeros(parent):
		return Inspection{}, errors.New("it has a parent: only images that stand alone are taken in")
	case kind != vdiDynamic && kind != vdiFixed:
		return Inspection{}, fmt.Errorf("it is a VDI image of type %d: dynamic (1) and fixed (2) are taken in", kind)
	case sector != 512 || block != vdiBlock:
		return Inspection{}, fmt.Errorf("its sectors have %d bytes and its blocks %d: 512 and %d are known", sector, block, vdiBlock)
	case mapAt%512 != 0 || dataAt%512 != 0:
		return Inspection{}, errors.New("its block map or its data does not begin where a sector does")
	case blocks > vdiMaxBlocks || allocated > blocks || size > uint64(blocks)*vdiBlock:
		return Inspection{}, fmt.Errorf("its virtual size of %d bytes does not fit its %d blocks, of which %d are in use", size, blocks, allocated)
	}
	if err := s.inside("its block map", uint64(mapAt), uint64(blocks), 4, vdiHeaderLen); err != nil {
		return Inspection{}, err
	}
	if err := s.inside("its data", uint64(dataAt), uint64(allocated), vdiBlock, vdiHeaderLen); err != nil {
		return Inspection{}, err
	}
	// QEMU rounds up the odd sizes that VBoxManage makes.
	return Inspection{VirtualSize: int64((size + 511) &^ 511)}, nil
}

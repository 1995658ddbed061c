package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Offsets of the setup header, The Linux/x86 Boot Protocol.
const (
	setupSectors  = 0x1f1 // size of the setup code in sectors of 512 bytes, without the first
	setupMagic    = 0x202 // "HdrS"
	payloadOffset = 0x248 // from the end of the setup code
	payloadLength = 0x24c // with 4 bytes behind the compressed kernel that say its size
	setupEnd      = 0x250
)

// xzMagic begins what xz packed, as Debian's kernels are.
const xzMagic = "\xfd7zXZ\x00"

// unpackKernel writes the kernel that is in a bzImage to a file of its own, which QEMU starts by its PVH entry:
// the emulated processor would need seconds to unpack it at every boot.
func unpackKernel(bzImage, kernel string) error {
	data, err := os.ReadFile(bzImage)
	if err != nil {
		return err
	}
	payload, err := payloadOf(data)
	if err != nil {
		return fmt.Errorf("%s: %w", bzImage, err)
	}
	if !bytes.HasPrefix(payload, []byte(xzMagic)) {
		return fmt.Errorf("%s: its kernel begins with % x, and xz is what can be unpacked", bzImage, payload[:len(xzMagic)])
	}
	out, err := os.Create(kernel)
	if err != nil {
		return err
	}
	cmd := exec.Command("xz", "-dc")
	cmd.Stdin, cmd.Stdout = bytes.NewReader(payload), out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("xz: %w", err)
	}
	return out.Close()
}

// payloadOf returns the compressed kernel in a bzImage.
func payloadOf(data []byte) ([]byte, error) {
	if len(data) < setupEnd || string(data[setupMagic:setupMagic+4]) != "HdrS" {
		return nil, errors.New("it is no bzImage")
	}
	begin := (uint64(data[setupSectors])+1)*512 + uint64(binary.LittleEndian.Uint32(data[payloadOffset:]))
	length := uint64(binary.LittleEndian.Uint32(data[payloadLength:]))
	if length < uint64(4+len(xzMagic)) || begin+length > uint64(len(data)) {
		return nil, errors.New("its payload is not within it")
	}
	return data[begin : begin+length-4], nil
}

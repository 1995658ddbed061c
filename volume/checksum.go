package volume

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"io"
	"os"

	"elstore/volume/fault"
)

// Checksum is what bytes from outside must sum up to.
type Checksum struct {
	Algorithm string // sha256 or sha512
	Sum       []byte
}

// check refuses algorithms that are not known. A nil Checksum asks for nothing.
func (c *Checksum) check() error {
	if c == nil {
		return nil
	}
	if h := c.hash(); h == nil || h.Size() != len(c.Sum) {
		return fault.Errorf(fault.BadRequest, "checksum %s of %d bytes is not allowed: use sha256 or sha512", c.Algorithm, len(c.Sum))
	}
	return nil
}

func (c *Checksum) hash() hash.Hash {
	switch c.Algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// verify reads all of f and compares.
func (c *Checksum) verify(ctx context.Context, f *os.File) error {
	if c == nil {
		return nil
	}
	h := c.hash()
	info, err := f.Stat()
	if err != nil {
		return fault.FromOS("read image", err)
	}
	if _, err := copyChunks(ctx, h, io.NewSectionReader(f, 0, info.Size()), func(int64) {}); err != nil {
		return err
	}
	if sum := h.Sum(nil); subtle.ConstantTimeCompare(sum, c.Sum) == 0 {
		return fault.Errorf(fault.ChecksumMismatch, "the data's %s is %s, not %s", c.Algorithm, hex.EncodeToString(sum), hex.EncodeToString(c.Sum))
	}
	return nil
}

package qemu

import "elstore/volume/fault"

// OpenOptions says what an Opener opens, and how.
type OpenOptions struct {
	Name     string // of the volume, for messages and the log
	Image    Image
	Base     *Image // the image that a qcow2 Image is an overlay of, which needs none itself; nil: it stands alone
	ReadOnly bool
	Direct   bool // go past the page cache, for storage that several machines use at once
}

// check refuses what can't be opened.
func (o OpenOptions) check() error {
	if err := o.Image.checkFile(); err != nil {
		return err
	}
	if o.Base == nil {
		return nil
	}
	if o.Image.Format != QCOW2 {
		return fault.Errorf(fault.BadRequest, "a %s image can't be an overlay: only qcow2 can", o.Image.Format)
	}
	return o.Base.checkFile()
}

// rules are the files that the storage daemon may open.
func (o OpenOptions) rules() []fileRule {
	rights := uint64(mayWrite)
	if o.ReadOnly {
		rights = mayRead
	}
	rules := []fileRule{{o.Image.Path, rights}}
	if o.Base != nil {
		rules = append(rules, fileRule{o.Base.Path, mayRead})
	}
	return rules
}

// nodeName is the name of the block node that is exported.
const nodeName = "disk"

// blockdev returns the arguments of blockdev-add. What the image says of its backing file is not followed: either it is named
// here, or there is none.
func (o OpenOptions) blockdev(aio string) map[string]any {
	disk := blockNode(o.Image, aio, o.ReadOnly, o.Direct)
	disk["node-name"] = nodeName
	if o.Image.Format != QCOW2 {
		return disk
	}
	disk["backing"] = nil
	if o.Base != nil {
		base := blockNode(*o.Base, aio, true, o.Direct)
		if o.Base.Format == QCOW2 {
			base["backing"] = nil
		}
		disk["backing"] = base
	}
	return disk
}

func blockNode(i Image, aio string, readonly, direct bool) map[string]any {
	cache := map[string]any{"direct": direct, "no-flush": false}
	return map[string]any{
		"driver":        string(i.Format),
		"read-only":     readonly,
		"discard":       "unmap",
		"detect-zeroes": "off",
		"cache":         cache,
		"file": map[string]any{
			"driver":    "file",
			"filename":  i.Path,
			"read-only": readonly,
			"locking":   "on",
			"aio":       aio,
			"discard":   "unmap",
			"cache":     cache,
		},
	}
}

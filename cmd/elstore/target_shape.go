package main

import "elstore/export/scsi"

// physical4K says that a disk keeps 4096 bytes together, as nearly all that are sold do.
const physical4K = 3

// shape says what kind of disk or drive an image is shown as. A thin disk gives back storage block by block; a thick one
// is as a hard disk is; a removable one is as flash behind a bridge is, which unmaps by WRITE SAME and knows no UNMAP.
func (o *targetOptions) shape() scsi.Config {
	c := scsi.Config{ReadOnly: !o.writable(), Thin: !o.thick && !o.cdrom, Removable: o.removable, CDROM: o.cdrom}
	if o.thick || o.removable {
		c.PhysicalExponent = physical4K
	}
	c.NoUnmap = c.Thin && o.removable
	return c
}

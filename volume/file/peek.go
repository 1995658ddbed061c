package file

import (
	"context"

	"elstore/volume"
	"elstore/volume/fault"
)

// Peek implements volume.Backend. Of raw images it needs a pool that several servers use: there every server goes past its page cache.
func (b *Backend) Peek(ctx context.Context, id volume.ID, m volume.Meta) (volume.Device, error) {
	d, err := b.pool.volume(".", id)
	if err != nil {
		return nil, fault.FromOS("open volume", err)
	}
	defer d.close()
	switch {
	case m.Format == volume.RBD:
		image, err := d.ref(dataName(m.Format))
		if err != nil {
			return nil, err
		}
		return d.images.OpenDevice(ctx, image, "", true)
	case m.Format != volume.Raw:
		return nil, fault.Errorf(fault.BadRequest, "volume %s has the format %s, of which one server at a time may have an image open; raw and rbd can be read beside another one", id, m.Format)
	case !b.cfg.Shared:
		return nil, fault.Errorf(fault.BadRequest, "volume %s lies in a pool that one server uses; where another one writes to it its settings.json has to say \"shared\": true", id)
	}
	f, err := d.open(dataName(m.Format), false)
	if err != nil {
		return nil, fault.FromOS("open the image", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fault.FromOS("open the image", err)
	}
	return d.direct(newDevice(f, "volume "+id.String(), true, info.Size()), m)
}

package iso

import (
	"context"
	"os"

	"elstore/volume"
	"elstore/volume/fault"
)

// Inspector looks at what is to be the content of ISO volumes. The zero value is ready.
type Inspector struct{}

var _ volume.ISOInspector = Inspector{}

// InspectISO refuses what is no whole ISO 9660 or UDF image, and completes isoinfo.json with what the image tells of the system
// in it; what somebody said stays. info may be empty.
func (Inspector) InspectISO(ctx context.Context, f *os.File, info []byte) (volume.Image, []byte, error) {
	st, err := f.Stat()
	if err != nil {
		return volume.Image{}, nil, fault.FromOS("look at the image", err)
	}
	im, err := Open(f, st.Size())
	if err != nil {
		return volume.Image{}, nil, err
	}
	if err := im.Check(ctx); err != nil {
		return volume.Image{}, nil, err
	}
	img := volume.Image{Path: f.Name(), Format: string(volume.Raw), Size: st.Size(), OnDisk: st.Size()}
	if len(info) == 0 {
		return img, info, nil
	}
	i, err := ParseInfo(info)
	if err != nil {
		return volume.Image{}, nil, err
	}
	i.Complete(im.Guess(ctx))
	return img, i.Encode(), nil
}

package iso

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"

	"elstore/volume"
	"elstore/volume/fault"
)

// New says what ISO volume is to be made.
type New struct {
	ID       volume.ID // zero: a random one
	Creator  volume.Client
	Name     string
	Private  bool
	Clonable bool
	Alg      volume.Alg
	Pool     string // "" for the best one
	Size     int64  // of an image that is yet to come, in bytes: the room that it looks to have; 0 is none
	Info     Info
	Extra    map[string]json.RawMessage // attributes of the client's own
}

// Service makes ISO volumes and reads what is in them. Its methods may be called at the same time.
type Service struct{ volumes *volume.Service }

// NewService returns a Service over the volumes.
func NewService(volumes *volume.Service) *Service { return &Service{volumes} }

// describe is the volume that n asks for: read-only, on a SATA bus, and bootable if it has a system in it.
func (n *New) describe() (volume.NewVolume, error) {
	if err := n.Info.Check(); err != nil {
		return volume.NewVolume{}, err
	}
	v := volume.NewVolume{
		ID: n.ID, Pool: n.Pool, ISOType: string(n.Info.Type), Files: map[string][]byte{volume.ISOInfoFile: n.Info.Encode()},
		Meta: volume.Meta{
			Creator: n.Creator, Name: n.Name, Private: n.Private, Bootable: n.Info.Type == OSGeneric, ReadOnly: true,
			Clonable: n.Clonable, Alg: n.Alg, Format: volume.ISO, Bus: volume.SATA, Size: n.Size, Extra: n.Extra,
		},
	}
	return v, v.Check()
}

// Check refuses what can't be a volume. Pure.
func (n *New) Check() error {
	_, err := n.describe()
	return err
}

// Create makes a volume whose image is yet to come, by an upload.
func (s *Service) Create(ctx context.Context, n New, p volume.Progress) (volume.Volume, error) {
	v, err := n.describe()
	if err != nil {
		return volume.Volume{}, err
	}
	return s.volumes.Create(ctx, v, p)
}

// Import makes a volume of an image, which is in its place when it is whole, its checksum right, and an ISO 9660 or UDF image. The volume
// is as large as the image.
func (s *Service) Import(ctx context.Context, n New, src volume.Source, p volume.Progress) (volume.Volume, Info, error) {
	n.Size = 0
	v, err := n.describe()
	if err != nil {
		return volume.Volume{}, Info{}, err
	}
	src.Format, src.Overlay = "", false
	made, err := s.volumes.Import(ctx, v, src, p)
	if err != nil {
		return volume.Volume{}, Info{}, err
	}
	info, err := s.Info(ctx, made.ID, nil)
	return made, info, err
}

// Info returns what the isoinfo.json of a volume says.
func (s *Service) Info(ctx context.Context, id volume.ID, by volume.Who) (info Info, err error) {
	if _, err := s.volumes.Get(ctx, id, by); err != nil {
		return Info{}, err
	}
	err = s.volumes.Edit(ctx, id, nil, "read", func(_ context.Context, e *volume.Edit) error {
		data, err := e.ReadFile(volume.ISOInfoFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // of a hand-made volume, or a seed
		}
		if err == nil {
			info, err = ParseInfo(data)
		}
		return err
	})
	return info, err
}

// Content is the image of a volume, open for reading.
type Content struct {
	Image  *Image
	Volume volume.Volume
	iso    *volume.ISOContent
}

// Close ends the reading.
func (c *Content) Close() error { return c.iso.Close() }

// Open opens the image of a volume. It works while the volume is exported, and what was opened stays as it is.
func (s *Service) Open(ctx context.Context, id volume.ID, by volume.Who) (*Content, error) {
	c, err := s.volumes.OpenISO(ctx, id, by)
	if err != nil {
		return nil, err
	}
	if c.Size == 0 {
		return nil, errors.Join(fault.Errorf(fault.VolumeNotExportable, "volume %s has no content yet", id), c.Close())
	}
	im, err := Open(c, c.Size)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Content{Image: im, Volume: c.Volume, iso: c}, nil
}

// Tag tells an image from what the volume had before: it is another one when the image is.
func (c *Content) Tag() int64 { return c.iso.Tag.UnixNano() }

// File opens a file of the image by its path, through symbolic links.
func (c *Content) File(ctx context.Context, name string) (File, *io.SectionReader, error) {
	f, err := c.Image.Follow(ctx, name)
	if err != nil {
		return f, nil, err
	}
	if f.Dir {
		return f, nil, nil
	}
	r, err := c.Image.Open(f)
	return f, r, err
}

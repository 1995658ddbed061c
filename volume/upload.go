package volume

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"elstore/volume/durable"
	"elstore/volume/fault"
)

// Part is a piece of an image that a client uploads into a volume.
type Part struct {
	Offset int64     // where it belongs in the image
	Length int64     // of the piece in bytes
	Total  int64     // of the whole image in bytes, -1 where the client doesn't know yet
	Body   io.Reader // the piece

	Format   string    // of the whole image; "" is raw
	Checksum *Checksum // of the whole image
}

// Upload takes in a piece of an image. Pieces come in order: one that does not begin where the last ended is
// refused with UploadOffset, except that offset 0 begins anew. What arrived stays, also across a restart, when the line breaks. With
// the last piece the image is checked and takes the place of the volume's content in one moment; complete says so. received is
// how much of the image is there.
func (s *Service) Upload(ctx context.Context, id ID, by Who, part Part, p Progress) (received int64, complete bool, err error) {
	if s.cfg.Inspect == nil {
		return 0, false, fault.Errorf(fault.ImageToolMissing, "this server can't take in images")
	}
	if err := part.Checksum.check(); err != nil {
		return 0, false, err
	}
	err = s.operate(ctx, id, by, Operation{Purpose: "upload"}, func(ctx context.Context, h *handle) error {
		if err := s.uploadable(ctx, h); err != nil {
			return err
		}
		if h.found.Meta.Format != ISO && (part.Format == string(Raw) || part.Format == "") {
			part.Format = string(Raw)
			if end := max(part.Total, part.Offset+part.Length); end > h.found.Meta.Size {
				return fault.Errorf(fault.UploadInvalidRange, "the image has %d bytes and volume %s only %d", end, id, h.found.Meta.Size)
			}
		}
		rooms, err := s.cfg.Pools.Reserve(ctx, []Want{{
			Pool: h.at.pool.Name(), Size: h.found.Meta.Size, Write: max(part.Length, part.Total-part.Offset) + metadataRoom, Format: h.found.Meta.Format,
		}}, s.emptyOldest)
		if err != nil {
			return err
		}
		defer rooms[0].Release()
		f, err := h.Incoming()
		if err != nil {
			return err
		}
		defer f.Close()
		steps := newSteps(p, 2)
		if received, err = receive(ctx, f, part, steps.next()); err != nil {
			return err
		}
		rooms[0].Wrote()
		if complete = part.Total >= 0 && received == part.Total; !complete {
			return nil
		}
		return s.takeOver(ctx, h, f, part, steps.next())
	})
	return received, complete && err == nil, err
}

// uploadable refuses volumes whose content can't be replaced.
func (s *Service) uploadable(ctx context.Context, h *handle) error {
	if err := h.usable(); err != nil {
		return err
	}
	waits, err := s.waits(ctx, h)
	if err != nil {
		return err
	}
	if h.found.Meta.ReadOnly && !waits {
		return fault.Errorf(fault.VolumeReadOnly, "volume %s is read-only; its content can't be replaced", h.found.ID)
	}
	return s.unused(h, fault.VolumeInUse, "its content can't be replaced")
}

// waits reports whether it is an ISO volume whose content is yet to come.
func (s *Service) waits(ctx context.Context, h *handle) (bool, error) {
	m := h.found.Meta
	if m.Format != ISO || m.CloudInit || s.cfg.ISO == nil {
		return false, nil
	}
	if m.Size == 0 {
		return true, nil
	}
	f, err := os.OpenFile(h.Image(m).Path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return false, fault.FromOS("open image", err)
	}
	defer f.Close()
	_, _, err = s.cfg.ISO.InspectISO(ctx, f, nil)
	if fault.Is(err, fault.ImageRefused) {
		return true, nil
	}
	return false, err
}

// receive appends a piece to what has arrived.
func receive(ctx context.Context, f *os.File, part Part, p Progress) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, fault.FromOS("upload", err)
	}
	there := info.Size()
	if part.Offset == 0 && there > 0 {
		if err := f.Truncate(0); err != nil {
			return there, fault.FromOS("upload", err)
		}
		there = 0
	}
	if part.Offset != there {
		return there, fault.Errorf(fault.UploadOffset, "the range begins at %d, and %d bytes are there; go on from there or begin at 0", part.Offset, there)
	}
	if _, err := f.Seek(there, io.SeekStart); err != nil {
		return there, fault.FromOS("upload", err)
	}
	n, err := copyChunks(ctx, durable.NewStream(f, there), io.LimitReader(part.Body, part.Length), func(done int64) {
		if p != nil {
			p(there+done, max(part.Total, there+part.Length))
		}
	})
	// What came is kept whatever ended it, and said to be there only when it really is.
	if serr := f.Sync(); serr != nil && err == nil {
		err = fault.FromOS("upload", serr)
	}
	if err == nil && n != part.Length {
		err = fault.Errorf(fault.BadRequest, "the body ended after %d of %d bytes; %d bytes of the image are there", n, part.Length, there+n)
	}
	return there + n, err
}

// takeOver puts an image that arrived whole in place of the volume's content. One that is not good is dropped.
func (s *Service) takeOver(ctx context.Context, h *handle, f *os.File, part Part, p Progress) error {
	err := part.Checksum.verify(ctx, f)
	m := h.found.Meta
	if err == nil && m.Format == ISO {
		return s.takeOverISO(ctx, h, f, p)
	}
	var img Image
	if err == nil {
		img, err = s.cfg.Inspect.Inspect(ctx, f, part.Format)
	}
	if err == nil && img.Size > m.Size {
		err = fault.Errorf(fault.VolumeDimensionNotUpdatable, "the image has %d bytes and volume %s only %d; resize it first", img.Size, h.found.ID, m.Size)
	}
	if err != nil {
		if fault.KindOf(err) == fault.Invalid {
			_ = h.DropIncoming() // it will not get better
		}
		return err
	}
	img.Owned = true
	need := int64(metadataRoom)
	if img.Format != string(m.Format) || m.Format == QCOW2 && img.Size != m.Size {
		need += img.OnDisk // otherwise it is moved into its place, and grows there
	}
	return s.rewrite(ctx, h, EventReplaced, h.found.Meta.Format, need, func() (Meta, error) {
		return h.Replace(ctx, m, Content{From: &img, Alg: m.Alg, Progress: p})
	})
}

// takeOverISO makes an image that arrived whole the content of an ISO volume that waits for it.
func (s *Service) takeOverISO(ctx context.Context, h *handle, f *os.File, p Progress) error {
	info, err := h.ReadFile(ISOInfoFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	img, completed, err := s.cfg.ISO.InspectISO(ctx, f, info)
	if err != nil {
		if fault.KindOf(err) == fault.Invalid {
			_ = h.DropIncoming() // it will not get better
		}
		return err
	}
	if len(info) > 0 {
		if err := h.WriteFile(ISOInfoFile, completed); err != nil {
			return err
		}
	}
	return s.setImage(ctx, h, img, p)
}

// setImage makes an image that lies in a file of our own the content of an ISO volume, whatever the size of either.
func (s *Service) setImage(ctx context.Context, h *handle, img Image, p Progress) error {
	img.Owned = true
	m := h.found.Meta
	m.Size = (img.Size + SectorSize - 1) / SectorSize * SectorSize
	rooms, err := s.cfg.Pools.Reserve(ctx, []Want{{
		Pool: h.at.pool.Name(), Size: m.Size, Bytes: max(m.Size-h.found.Meta.Size, 0), Write: metadataRoom, Format: ISO,
	}}, s.emptyOldest)
	if err != nil {
		return err
	}
	defer rooms[0].Release() // update accounts for it
	after, err := h.Replace(ctx, m, Content{From: &img, Alg: m.Alg, Progress: p})
	if err == nil {
		err = h.SetMeta(ctx, after)
	}
	if err != nil {
		return s.reread(ctx, h, err)
	}
	s.update(h, EventReplaced, after)
	return nil
}

// Uploaded returns how many bytes of an image have arrived for a volume.
func (s *Service) Uploaded(ctx context.Context, id ID, by Who) (received int64, err error) {
	err = s.operate(ctx, id, by, Operation{Purpose: "upload"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		if received, err = h.Received(); err != nil {
			return err
		}
		return nil
	})
	return received, err
}

// DropUpload forgets what has arrived.
func (s *Service) DropUpload(ctx context.Context, id ID, by Who) error {
	return s.operate(ctx, id, by, Operation{Purpose: "upload"}, func(_ context.Context, h *handle) error {
		return h.DropIncoming()
	})
}

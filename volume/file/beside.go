package file

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"elstore/volume"
	"elstore/volume/fault"
)

// seedDir is the directory of a cloud-init seed's files.
var seedDir = strings.TrimSuffix(volume.SeedDir, "/")

// besides lists the files beside the image.
func (d *dir) besides() ([]string, error) {
	names, err := d.namesIn(seedDir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []string
	for _, name := range names {
		if name = volume.SeedDir + name; volume.CheckBeside(name) == nil {
			list = append(list, name)
		}
	}
	if d.has(isoName) {
		list = append(list, isoName)
	}
	return list, nil
}

// readBeside reads a file beside the image.
func (d *dir) readBeside(name string) ([]byte, error) {
	if err := volume.CheckBeside(name); err != nil {
		return nil, err
	}
	from := d
	if in := path.Dir(name); in != "." {
		s, err := d.sub(in)
		if err != nil {
			return nil, fault.FromOS("open "+in, err)
		}
		defer s.close()
		from = s
	}
	data, _, err := readSmall(int(from.fd.Fd()), path.Base(name), volume.MaxBeside+1)
	switch {
	case err != nil:
		return nil, fault.FromOS("read "+path.Base(name), err)
	case len(data) > volume.MaxBeside:
		return nil, fault.Errorf(fault.VolumeDamaged, "%s has over %d bytes", name, volume.MaxBeside)
	}
	return data, nil
}

// writeBeside puts a file beside the image durably: written under a temporary name in the volume's directory, where recovery looks
// for such, and renamed. If it fails, what was there before is there again.
func (d *dir) writeBeside(name string, data []byte) error {
	if err := volume.CheckBeside(name); err != nil {
		return err
	}
	old, err := d.readBeside(name)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return err
	}
	if in := path.Dir(name); !d.has(in) {
		if err := d.mkdir(in); err != nil {
			return fault.FromOS("make "+in, err)
		}
		if err := d.sync("."); err != nil {
			return err
		}
	}
	if err := d.putBeside(name, data); err != nil {
		var back error
		if fresh {
			back = d.removeBeside(name)
		} else if now, rerr := d.readBeside(name); rerr != nil || string(now) != string(old) {
			back = d.putBeside(name, old)
		}
		return errors.Join(err, back)
	}
	return nil
}

func (d *dir) putBeside(name string, data []byte) error {
	t := tempName()
	f, err := d.openNew(t)
	if err != nil {
		return fault.FromOS("write "+path.Base(name), err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = d.fsync(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.rename(t, name)
	}
	if err != nil {
		_ = d.remove(t) // one that stays is swept
	}
	return fault.FromOS("write "+path.Base(name), err)
}

// removeBeside removes a file beside the image.
func (d *dir) removeBeside(name string) error {
	if err := volume.CheckBeside(name); err != nil {
		return err
	}
	if !d.has(name) {
		return nil
	}
	if err := d.remove(name); err != nil {
		return err
	}
	return d.sync(path.Dir(name))
}

// WriteFile puts a small file beside the image.
func (s *stage) WriteFile(name string, data []byte) error { return s.d.writeBeside(name, data) }

// Files lists the files beside the image.
func (h *held) Files() ([]string, error) {
	if h.gone {
		return nil, nil
	}
	return h.d.besides()
}

// ReadFile reads a file beside the image.
func (h *held) ReadFile(name string) ([]byte, error) { return h.d.readBeside(name) }

// WriteFile replaces a file beside the image.
func (h *held) WriteFile(name string, data []byte) error {
	if err := h.ready(context.Background()); err != nil {
		return err
	}
	return h.d.writeBeside(name, data)
}

// RemoveFile removes a file beside the image.
func (h *held) RemoveFile(name string) error {
	if err := h.ready(context.Background()); err != nil {
		return err
	}
	return h.d.removeBeside(name)
}

package file

import (
	"golang.org/x/sys/unix"

	"elstore/volume/fault"
)

// ReadAt implements volume.Device.
func (d *direct) ReadAt(p []byte, off int64) (int, error) {
	if err := d.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		rest, at := p[done:], off+int64(done)
		if d.fits(rest, at) {
			n, err := d.pread(rest, at, int64(len(rest)))
			return done + n, err
		}
		first := d.down(at)
		b, release := d.buffer(min(maxBounce, d.up(at+int64(len(rest)))-first))
		want := min(int64(len(b)), at+int64(len(rest))-first)
		_, err := d.pread(b, first, want)
		if err == nil {
			done += copy(rest, b[at-first:want])
		}
		release()
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// pread fills p, whole blocks, from off on, of which the first want bytes have to be there.
func (d *direct) pread(p []byte, off, want int64) (int, error) {
	done := int64(0)
	for done < want {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pread(int(d.f.Fd()), p[done:], off+done)
			return err
		})
		if err != nil {
			return int(done), fault.FromOS("read", err)
		}
		if done+int64(n) >= want {
			break
		}
		step := d.down(int64(n)) // what was cut short within a block is read again
		if step == 0 {
			return int(done), fault.Errorf(fault.VolumeDamaged, "the image of %s became shorter than it was", d.name)
		}
		done += step
	}
	return int(want), nil
}

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// maxTag is the longest ETag that is kept, in bytes.
const maxTag = 1024

// Download writes a volume's image, as it is at one moment, to the file path and returns its length. The image comes as
// path.part and takes the name at the end, on stable storage, so that path is the old file or the whole new one.
// Blocks of zeros become holes. A download that ended early, in this process or another, goes on where it was, if the image
// is still the same. The file is its owner's alone: images hold secrets.
func (c *Client) Download(ctx context.Context, r DownloadRequest, path string) (int64, error) {
	f, err := openPart(path)
	if err != nil {
		return 0, err
	}
	d := &download{c: c, r: r, to: f, tag: f.tag, offset: f.at, tries: c.patience()}
	err = d.run(ctx)
	return d.offset, errors.Join(err, f.close())
}

// part is a file that a download fills.
type part struct {
	path string // the name it gets at the end
	file *os.File
	tag  string // by which the server knows the image that is in it
	at   int64
	done bool
}

// openPart opens path.part, with what an earlier download left in it, alone.
func openPart(path string) (*part, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is there and is not a regular file", path)
	}
	file, err := os.OpenFile(path+".part", os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the caller's own choice
	if err != nil {
		return nil, err
	}
	p := &part{path: path, file: file}
	if err = alone(file); err == nil {
		err = p.recall()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// alone makes sure that nobody else writes to the file, and that it still bears its name: another download may
// have finished with it since it was opened.
func alone(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		var ours, named os.FileInfo
		if ours, err = file.Stat(); err == nil {
			named, err = os.Stat(file.Name())
		}
		if err == nil && os.SameFile(ours, named) {
			return nil
		}
	}
	return fmt.Errorf("another download writes to %s now", file.Name())
}

// recall finds out what is there already. Without its tag it is worth nothing.
func (p *part) recall() error {
	tag, err := readTag(p.tagPath())
	if err == nil && len(tag) > 0 {
		p.tag = tag
		p.at, err = p.file.Seek(0, io.SeekEnd)
		return err
	}
	return p.file.Truncate(0)
}

func readTag(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // beside the caller's file
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTag))
	return string(bytes.TrimSpace(data)), err
}

func (p *part) tagPath() string { return p.path + ".part.etag" }

// zeros is a block of them; 64 KiB is what is worth a hole.
var zeros [64 << 10]byte

// Write appends. Blocks of zeros are left out; the file gets its length in the end.
func (p *part) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		// Up to the next boundary, so that a hole is whole blocks of the file system.
		n := min(len(data), len(zeros)-int(p.at%int64(len(zeros))))
		block := data[:n]
		if !bytes.Equal(block, zeros[:n]) {
			if m, err := p.file.WriteAt(block, p.at); err != nil {
				p.at += int64(m)
				return written + m, err
			}
		}
		p.at += int64(n)
		written += n
		data = data[n:]
	}
	return written, nil
}

func (p *part) keep(tag string) error {
	p.tag = tag
	if tag == "" || len(tag) > maxTag {
		return remove(p.tagPath())
	}
	f, err := os.OpenFile(p.tagPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(tag + "\n")
	return errors.Join(err, f.Close())
}

func (p *part) restart() error {
	p.at = 0
	return errors.Join(remove(p.tagPath()), p.file.Truncate(0))
}

// finish checks the image and gives it its name.
func (p *part) finish(ctx context.Context, d digest) error {
	if err := p.file.Truncate(p.at); err != nil { // holes at the end
		return err
	}
	if d != "" {
		sum, err := sumOf(ctx, p.file, p.at)
		if err == nil {
			err = d.check(sum)
		}
		if err != nil {
			return errors.Join(err, p.restart())
		}
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.path+".part", p.path); err != nil {
		return err
	}
	p.done = true
	return errors.Join(remove(p.tagPath()), syncDir(filepath.Dir(p.path)))
}

// close ends it. What was not finished stays, if the rest can be asked for.
func (p *part) close() error {
	var err error
	switch {
	case p.done:
	case p.at > 0 && p.tag != "":
		err = p.file.Truncate(p.at)
	default:
		err = errors.Join(remove(p.tagPath()), remove(p.path+".part"))
	}
	return errors.Join(err, p.file.Close())
}

// sumOf reads the first n bytes of f.
func sumOf(ctx context.Context, f *os.File, n int64) ([]byte, error) {
	h := sha256.New()
	const step = 4 << 20
	for at := int64(0); at < n; at += step {
		if ctx.Err() != nil {
			return nil, gaveUp(ctx)
		}
		if _, err := io.Copy(h, io.NewSectionReader(f, at, min(step, n-at))); err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // where the caller's file is
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

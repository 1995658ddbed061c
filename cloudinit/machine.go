package cloudinit

import (
	"context"
	"encoding/hex"
	"net/url"
	"path"
	"strings"

	"elstore/volume"
	"elstore/volume/fault"
)

// Getter fetches a small document. cmd joins volume/fetch to it.
type Getter interface {
	// Get returns the first limit bytes of what url names. It fails with FetchFailed or FetchForbidden.
	Get(ctx context.Context, url string, limit int64) ([]byte, error)
}

// maxSums is how much of a list of checksums is read, in bytes.
const maxSums = 1 << 20

// lists are the lists of checksums that publishers of cloud images put beside them.
var lists = []struct{ name, algorithm string }{{"SHA256SUMS", "sha256"}, {"SHA512SUMS", "sha512"}, {"CHECKSUM", "sha256"}}

// Machine makes the volume that a machine boots from, of a cloud image: downloaded whole and verified, by the checksum given or by one
// that stands beside it in a list, converted to the volume's format and grown to its size. Where the pool has an image of
// that checksum among its base images nothing is downloaded. Without a URL and path the volume is empty. What can't be
// fetched is CloudInitCreateImageDownloadfailed.
func (s *Service) Machine(ctx context.Context, n volume.NewVolume, src volume.Source, p volume.Progress) (volume.Volume, error) {
	n.Meta.CloudInit = true
	if src.URL == "" && src.Path == "" {
		return s.volumes.Create(ctx, n, p)
	}
	if src.Checksum == nil {
		var err error
		if src.Checksum, err = s.published(ctx, src); err != nil {
			return volume.Volume{}, err
		}
	}
	src.Cached = true
	v, err := s.volumes.Import(ctx, n, src, p)
	if fault.Is(err, fault.FetchFailed) || fault.Is(err, fault.FetchForbidden) {
		return v, fault.Errorf(fault.CloudInitCreateImageDownloadfailed, "%w", err)
	}
	return v, err
}

// published looks for a checksum beside an image; nil is none. Whoever can change the image can change the list too: it tells
// damage, not fraud.
func (s *Service) published(ctx context.Context, src volume.Source) (*volume.Checksum, error) {
	name, read := path.Base(src.Path), func(list string) ([]byte, error) {
		return s.volumes.ReadImport(path.Join(path.Dir(src.Path), list), maxSums)
	}
	if src.URL != "" {
		u, err := url.Parse(src.URL)
		if err != nil || s.get == nil || u.Path == "" || strings.HasSuffix(u.Path, "/") {
			return nil, nil //nolint:nilnil,nilerr // the download says what is wrong with the URL
		}
		name, read = path.Base(u.Path), func(list string) ([]byte, error) {
			beside := *u
			beside.Path, beside.RawPath = path.Join(path.Dir(u.Path), list), ""
			return s.get.Get(ctx, beside.String(), maxSums)
		}
	}
	for _, l := range lists {
		data, err := read(l.name)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			continue // it isn't there, or the image isn't either
		}
		if sum := sumOf(string(data), name, l.algorithm); sum != nil {
			return sum, nil
		}
	}
	return nil, nil //nolint:nilnil // not every publisher has a list
}

// sumOf finds a file's checksum in a list as sha256sum (GNU and BSD form) writes it.
func sumOf(text, name, algorithm string) *volume.Checksum {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		digits, file, ok := strings.Cut(line, " ")
		file = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(file), "*"), "./")
		if before, after, bsd := strings.Cut(line, ") = "); bsd {
			var of string
			of, file, ok = strings.Cut(before, " (")
			digits, ok = after, ok && strings.EqualFold(of, algorithm)
		}
		if !ok || file != name {
			continue
		}
		sum, err := hex.DecodeString(digits)
		if want := map[string]int{"sha256": 32, "sha512": 64}[algorithm]; err == nil && len(sum) == want {
			return &volume.Checksum{Algorithm: algorithm, Sum: sum}
		}
	}
	return nil
}

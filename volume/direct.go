package volume

import (
	"context"

	"elstore/volume/fault"
)

// DirectAccess is what a hypervisor needs to open a volume's image on its cluster itself.
type DirectAccess struct {
	Cluster  string // its id
	Monitors string // their addresses, as mon_host in a ceph.conf
	Pool     string // of the cluster
	Image    string
	User     string // without "client."
	Key      string // a secret
}

// DirectBackend is a Backend some of whose volumes can be opened by others themselves.
type DirectBackend interface {
	// Direct lets a client open a volume's image, and it alone, until the image is gone or this server opens it for writing. The same call again has the same answer.
	// UnsupportedFormat is the code where the image is not of that kind.
	Direct(ctx context.Context, id ID, client Client) (DirectAccess, error)
}

// Direct lets a client open a volume's image on its cluster itself, past this server. One that is private is for its owner, and
// one that is exported for nobody: an image has one writer.
func (s *Service) Direct(ctx context.Context, id ID, client Client) (access DirectAccess, err error) {
	err = s.operate(ctx, id, nil, Operation{Purpose: "credentials"}, func(ctx context.Context, h *handle) error {
		if err := h.usable(); err != nil {
			return err
		}
		m := h.found.Meta
		if m.Private && m.Creator != client {
			return fault.Errorf(fault.VolumeNotExportable, "volume %s is private, and client %s is not its owner", id, client)
		}
		b, ok := h.at.backend.(DirectBackend)
		if !ok || m.Format != RBD {
			return fault.Errorf(fault.UnsupportedFormat, "volume %s has format %s; only one of format rbd has credentials on a cluster", id, m.Format)
		}
		if err := s.unused(h, fault.VolumeAlreadyExported, "nobody else can open it"); err != nil {
			return err
		}
		if access, err = b.Direct(ctx, id, client); err != nil {
			return s.unwell(h.at, err)
		}
		return nil
	})
	return access, err
}

//go:build !ceph

package rbd

import (
	"context"

	"elstore/volume/fault"
)

// Open connects to a cluster in builds that have librbd. This one has not, and says what to do.
func Open(_ context.Context, _ Config) (*Store, error) {
	return nil, fault.Errorf(fault.PoolUnavailable,
		"its settings.json has ceph, and this elstore was built without Ceph: use one that was built with make build-ceph")
}

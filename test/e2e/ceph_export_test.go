//go:build ceph

package e2e

import (
	"testing"

	"elstore/test/ceph"
)

// TestCephExports has what is true of exports of files true of those of images on a cluster.
func TestCephExports(t *testing.T) {
	onCluster := backend{"rbd", ceph.Start(t).Settings()}
	for name, test := range map[string]func(*testing.T, backend){
		"iSCSI":           machineKeepsItsVolume,
		"a local machine": localMachineKeepsItsVolume,
		"NBD":             machineKeepsItsVolumeOverNBD,
		"the pen":         penMovesOverISCSI,
		"the fence":       fencedInTheMiddleOfWriting,
	} {
		t.Run(name, func(t *testing.T) { test(t, onCluster) })
	}
}

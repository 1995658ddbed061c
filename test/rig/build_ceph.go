//go:build ceph

package rig

// How the server is built for tests that are themselves built with Ceph.
const (
	cgo  = "1"
	tags = "ceph,pacific"
)

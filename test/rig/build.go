//go:build !ceph

package rig

// How the server is built: static, without cgo, as it is by default.
const (
	cgo  = "0"
	tags = ""
)

package nbd

import (
	"errors"
	"syscall"
)

// errnoOf returns the error number of the protocol for an error, which are those of Linux.
func errnoOf(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return uint32(syscall.EPERM)
	case errors.Is(err, syscall.EINVAL):
		return uint32(syscall.EINVAL)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return uint32(syscall.ENOSPC)
	}
	return uint32(syscall.EIO)
}

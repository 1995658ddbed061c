package rbd

import (
	"context"
	"errors"
	"syscall"

	"elstore/volume/fault"
)

// errno returns the errno in err's chain, 0 where there is none.
func errno(err error) syscall.Errno {
	n, _ := errors.AsType[syscall.Errno](err)
	return n
}

// classify makes an error of librbd one for the caller, once.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	as := func(code fault.Code, why string) error {
		return &fault.Error{Code: code, Msg: op + ": " + why, Err: err}
	}
	switch errno(err) {
	case syscall.ETIMEDOUT:
		return as(fault.PoolUnavailable, "the Ceph cluster doesn't answer")
	case syscall.ESHUTDOWN:
		return as(fault.PoolUnavailable, "the Ceph cluster has shut this server out (blocklisted)")
	case syscall.EPERM, syscall.EACCES:
		return as(fault.PoolUnavailable, "the Ceph user of the pool is not allowed to")
	case syscall.ENOSPC, syscall.EDQUOT:
		return as(fault.PoolFull, "the Ceph cluster, or the quota of its pool, is full")
	case syscall.EROFS, syscall.EBUSY, syscall.EAGAIN:
		return as(fault.VolumeInUse, "somebody else has the image open")
	case syscall.ENOENT:
		return as(fault.VolumeDamaged, "the image is not on the Ceph cluster")
	case syscall.ENOTCONN, syscall.ECONNREFUSED, syscall.EIO:
		return as(fault.PoolUnavailable, "the Ceph cluster failed: "+errno(err).Error())
	}
	return fault.New(fault.PoolUnavailable, op, err)
}

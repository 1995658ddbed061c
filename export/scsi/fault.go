package scsi

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"
)

// readError turns the error of reading the block lba into an answer.
func (lu *LogicalUnit) readError(err error, lba uint64) answer {
	return lu.deviceError("read", err, lba, UnrecoveredReadError)
}

// writeError turns the error of writing the block lba into an answer.
func (lu *LogicalUnit) writeError(err error, lba uint64) answer {
	return lu.deviceError("write", err, lba, WriteError)
}

// flushError turns the error of Flush into an answer. It can't tell which block is lost.
func (lu *LogicalUnit) flushError(err error) answer {
	a := lu.deviceError("flush", err, 0, WriteError)
	a.hasInfo = false
	return a
}

// deviceError says by its sense key what an initiator can do about an error: wait for room (SBC-3 section
// 4.7.3.6), take the block for lost, or try the unit again later.
func (lu *LogicalUnit) deviceError(what string, err error, lba uint64, medium SenseCode) answer {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return aborted
	}
	if !lu.failing.Swap(true) { // a broken disk has more errors than a log has room
		lu.cfg.Log.Error("device error", slog.String("operation", what), slog.Uint64("lba", lba), slog.Any("error", err))
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return check(DataProtect, SpaceAllocationFailed)
	case errors.Is(err, syscall.EROFS):
		return check(DataProtect, WriteProtected)
	case errors.Is(err, fs.ErrClosed), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ESTALE):
		return check(NotReady, NotReadyNoCause)
	}
	return check(MediumError, medium).withInfo(lba)
}

// works notes that a command used the Device and succeeded.
func (lu *LogicalUnit) works() {
	if lu.failing.Load() && lu.failing.Swap(false) {
		lu.cfg.Log.Info("device works again")
	}
}

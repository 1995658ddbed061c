package fault

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Error is an error with a code for programs and a sentence for people. Immutable after it was made.
type Error struct {
	Code Code
	Msg  string // a sentence that may be shown to any caller: no secret, no internal path
	Err  error  // the cause, for the log; nil where Msg says all
}

// Errorf makes an Error whose sentence is for the caller. What a %w in format names, one or several, is kept
// as the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if _, several := err.(interface{ Unwrap() []error }); several {
		cause = err
	}
	return &Error{Code: code, Msg: err.Error(), Err: cause}
}

// New classifies err, which happened during op, as code. The sentence is "op: err". A nil err gives nil.
func New(code Code, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Msg: op + ": " + err.Error(), Err: err}
}

// FromState classifies an error of the server's state directory that happened during op as StateUnavailable. The sentence
// says what an operator can do where that is known. nil gives nil.
func FromState(op string, err error) error {
	if err == nil {
		return nil
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return &Error{Code: StateUnavailable, Err: err, Msg: op + ": the disk with the server's state directory is full; " +
			"free some room on it, or start the server with --state on another disk"}
	case syscall.EROFS:
		return &Error{Code: StateUnavailable, Err: err, Msg: op + ": the disk with the server's state directory is read-only now, " +
			"as the kernel makes one that fails; see to it, or start the server with --state on another disk"}
	}
	return New(StateUnavailable, op, err)
}

// FromOS classifies an error of the operating system that happened during op by its errno: a full disk or
// quota is PoolFull, a read-only, failing or vanished file system is PoolUnavailable. Their sentence is
// "op: what the errno means", without the path, which is not the caller's to know. An error that is
// classified already is returned as it is, and anything else is wrapped and stays Internal. nil gives nil.
func FromOS(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ENOSPC:
		return &Error{Code: PoolFull, Msg: op + ": the pool's disk is full", Err: err}
	case syscall.EDQUOT:
		return &Error{Code: PoolFull, Msg: op + ": a quota of the pool's file system is used up", Err: err}
	case syscall.EFBIG:
		return &Error{Code: PoolFull, Msg: op + ": larger than the pool's file system takes", Err: err}
	case syscall.EROFS, syscall.EIO, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.ESHUTDOWN,
		syscall.EUCLEAN,  // the file system found itself corrupt
		syscall.ENOTCONN: // a FUSE mount whose server is gone
		return &Error{Code: PoolUnavailable, Msg: op + ": " + errno.Error(), Err: err}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Kind returns the kind that the error's code belongs to.
func (e *Error) Kind() Kind { return kinds[e.Code] }

// CodeOf returns the code of the first Error in err's chain. A cancelled or expired context is
// JobCancelled, and InternalError is what nobody classified.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return JobCancelled
	}
	return InternalError
}

// KindOf returns the kind of CodeOf(err).
func KindOf(err error) Kind { return kinds[CodeOf(err)] }

// Is reports whether CodeOf(err) is code. A nil err is never any code.
func Is(err error, code Code) bool { return err != nil && CodeOf(err) == code }

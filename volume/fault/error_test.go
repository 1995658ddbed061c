package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestErrorf(t *testing.T) {
	full := New(PoolFull, "write", syscall.ENOSPC)
	tests := []struct {
		name   string
		err    *Error
		msg    string
		causes []error // each must be found in the chain
	}{
		{"no cause", Errorf(BadRequest, "size is %d, and must be positive", -1), "size is -1, and must be positive", nil},
		{"%v is not a cause", Errorf(BadRequest, "parse: %v", io.EOF), "parse: EOF", nil},
		{"one cause", Errorf(FetchFailed, "fetch: %w", io.ErrUnexpectedEOF), "fetch: unexpected EOF", []error{io.ErrUnexpectedEOF}},
		{"two causes", Errorf(FetchFailed, "fetch: %w, then %w", io.EOF, fs.ErrClosed), "fetch: EOF, then file already closed", []error{io.EOF, fs.ErrClosed}},
		{"a classified cause", Errorf(VolumeCannotBeCreated, "create: %w", full), "create: write: no space left on device", []error{full, syscall.ENOSPC}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err.Error() != tt.msg {
				t.Errorf("Error() = %q, want %q", tt.err, tt.msg)
			}
			for _, cause := range tt.causes {
				if !errors.Is(tt.err, cause) {
					t.Errorf("the cause %q is lost", cause)
				}
			}
			if tt.causes == nil && tt.err.Unwrap() != nil {
				t.Errorf("Unwrap() = %q, want nil", tt.err.Unwrap())
			}
		})
	}
}

func TestNew(t *testing.T) {
	if err := New(PoolFull, "resize", nil); err != nil {
		t.Errorf("New of no error = %v, want nil", err)
	}
	err := New(ImageToolFailed, "convert", io.ErrShortWrite)
	if got, want := err.Error(), "convert: short write"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error("the cause is lost")
	}
	if got := CodeOf(err); got != ImageToolFailed {
		t.Errorf("CodeOf = %s, want %s", got, ImageToolFailed)
	}
}

func TestFromOS(t *testing.T) {
	path := func(errno error) error { return &fs.PathError{Op: "write", Path: "/mnt/secret/data.img", Err: errno} }
	tests := []struct {
		name string
		err  error
		want Code
	}{
		{"full disk", path(syscall.ENOSPC), PoolFull},
		{"quota", path(syscall.EDQUOT), PoolFull},
		{"larger than the file system can hold", path(syscall.EFBIG), PoolFull},
		{"read-only", path(syscall.EROFS), PoolUnavailable},
		{"failing disk", path(syscall.EIO), PoolUnavailable},
		{"corrupt file system", path(syscall.EUCLEAN), PoolUnavailable},
		{"NFS server forgot the handle", path(syscall.ESTALE), PoolUnavailable},
		{"FUSE server gone", path(syscall.ENOTCONN), PoolUnavailable},
		{"device gone", path(syscall.ENODEV), PoolUnavailable},
		{"no such device", path(syscall.ENXIO), PoolUnavailable},
		{"shut down", path(syscall.ESHUTDOWN), PoolUnavailable},
		{"link error", &os.LinkError{Op: "rename", Old: "/mnt/secret/a", New: "/mnt/secret/b", Err: syscall.ENOSPC}, PoolFull},
		{"system call", os.NewSyscallError("fallocate", syscall.ENOSPC), PoolFull},
		{"bare errno", syscall.EIO, PoolUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := FromOS("save the record", tt.err)
			if got := CodeOf(err); got != tt.want {
				t.Errorf("CodeOf = %s, want %s", got, tt.want)
			}
			if !errors.Is(err, tt.err) {
				t.Error("the cause is lost")
			}
			if msg := err.Error(); strings.Contains(msg, "secret") || !strings.HasPrefix(msg, "save the record: ") {
				t.Errorf("sentence %q, want one that names the operation and no path", msg)
			}
		})
	}
}

func TestFromState(t *testing.T) {
	path := func(errno error) error { return &fs.PathError{Op: "write", Path: "/mnt/secret", Err: errno} }
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"full":                {path(syscall.ENOSPC), "save: the disk with the server's state directory is full; free some room"},
		"full, and so called": {FromOS("write x", path(syscall.ENOSPC)), "save: the disk with the server's state directory is full; free some room"},
		"quota":               {path(syscall.EDQUOT), "is full"},
		"read-only":           {path(syscall.EROFS), "is read-only now"},
		"anything else":       {io.EOF, "save: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			err := FromState("save", tt.err)
			if CodeOf(err) != StateUnavailable || !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s %v", CodeOf(err), err)
			}
		})
	}
	if err := FromState("save", nil); err != nil {
		t.Errorf("of no error: %v", err)
	}
}

func TestFromOSLeavesTheRestAlone(t *testing.T) {
	if err := FromOS("write", nil); err != nil {
		t.Errorf("FromOS of no error = %v, want nil", err)
	}
	locked := fmt.Errorf("resize: %w", Errorf(VolumeAlreadyLocked, "the volume is being cloned"))
	if got := FromOS("write", locked); got != locked { //nolint:errorlint // the very same error is what is promised
		t.Errorf("an error that was classified came back as %v", got)
	}
	for _, cause := range []error{fs.ErrNotExist, syscall.EACCES, syscall.EINVAL, io.EOF} {
		err := FromOS("write", cause)
		if !errors.Is(err, cause) || CodeOf(err) != InternalError {
			t.Errorf("FromOS(%v) = %v with code %s, want it wrapped and %s", cause, err, CodeOf(err), InternalError)
		}
	}
}

func TestCodeOfAndKindOf(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the operator said so"))
	tests := []struct {
		name string
		err  error
		code Code
		kind Kind
	}{
		{"unclassified", io.EOF, InternalError, Internal},
		{"direct", Errorf(VolumeNotFound, "no such volume"), VolumeNotFound, NotFound},
		{"wrapped", fmt.Errorf("info: %w", Errorf(PoolNotFound, "no such pool")), PoolNotFound, NotFound},
		{"the outer of two", New(VolumeNotAllocable, "create", Errorf(PoolFull, "full")), VolumeNotAllocable, NoSpace},
		{"joined", errors.Join(io.EOF, Errorf(RateLimited, "slow down")), RateLimited, TooMany},
		{"cancelled", fmt.Errorf("clone: %w", cancelled.Err()), JobCancelled, Conflict},
		{"expired", context.DeadlineExceeded, JobCancelled, Conflict},
		{"cancelled and classified", Errorf(ShuttingDown, "stopping: %w", context.Canceled), ShuttingDown, Unavailable},
		{"a code nobody declared", Errorf("Strange", "strange"), "Strange", Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := CodeOf(tt.err); got != tt.code {
				t.Errorf("CodeOf = %s, want %s", got, tt.code)
			}
			if got := KindOf(tt.err); got != tt.kind {
				t.Errorf("KindOf = %s, want %s", got, tt.kind)
			}
			if e, ok := errors.AsType[*Error](tt.err); ok && e.Kind() != tt.kind {
				t.Errorf("Kind() = %s, want %s", e.Kind(), tt.kind)
			}
		})
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("info: %w", Errorf(VolumeNotFound, "no such volume"))
	if !Is(err, VolumeNotFound) {
		t.Error("Is does not see its code through a wrapping")
	}
	if Is(err, PoolNotFound) {
		t.Error("Is takes a code of the same kind for its own")
	}
	if Is(nil, InternalError) {
		t.Error("Is takes no error for an InternalError")
	}
	if !Is(io.EOF, InternalError) {
		t.Error("an error that nobody classified is not InternalError")
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"elstore/api/client"
	"elstore/volume/fault"
)

// The exit codes, as `elstore help exit-codes` lists them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitNoSpace     = 5
	exitUnavailable = 6
	exitNotAllowed  = 7
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

const exitCodesHelp = `Every command ends with one of these codes:

  0    done
  1    it failed for a reason that is none of those below
  2    the command line is wrong, or names a value that is not allowed
  3    no such volume, pool or job
  4    something is in the way: the volume is locked, exported or in the wrong
       state, or a job was cancelled
  5    no pool has room, or a limit of the pool is hit
  6    the server does not answer, or the pool is not available now
  7    you may not do this, or the server does not know who you are
  130  interrupted with Ctrl-C; what the server had begun goes on

Where several volumes or jobs were named, the others are done though one failed;
the code is that of the first failure.
`

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// notFoundError is of a name that nothing bears.
type notFoundError struct{ what, name string }

func (e *notFoundError) Error() string { return fmt.Sprintf("no %s is named %q", e.what, e.name) }

// resumableError is of work that can be taken up again, as next says.
type resumableError struct {
	err  error
	next string
}

func (e *resumableError) Error() string { return e.err.Error() }
func (e *resumableError) Unwrap() error { return e.err }

// resumable marks err, if any, as of a transfer that the same command takes up again.
func resumable(err error) error {
	if err == nil {
		return nil
	}
	return &resumableError{err, "The same command goes on where it was."}
}

// several parts the errors of several arguments.
func several(err error) []error {
	if all, ok := errors.AsType[joined](err); ok {
		return all
	}
	return []error{err}
}

// exitCode returns the code of the first of err's errors.
func exitCode(err error) int {
	err = several(err)[0]
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*notFoundError](err); ok {
		return exitNotFound
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return exitUnavailable
	}
	if code, special := exitOfCode[fault.CodeOf(err)]; special {
		return code
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return exitNotFound
	case fault.Conflict, fault.Precondition:
		return exitConflict
	case fault.NoSpace:
		return exitNoSpace
	case fault.Unavailable, fault.TooMany:
		return exitUnavailable
	case fault.Unauthenticated, fault.Forbidden:
		return exitNotAllowed
	case fault.Internal, fault.Invalid, fault.Method, fault.TooLarge, fault.BadRange:
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return exitOfStatus(e.Status)
	}
	return exitFailure
}

// exitOfCode are the codes that mean more to whoever typed the command than their kind says.
var exitOfCode = map[fault.Code]int{
	fault.BadRequest:                          exitUsage,
	fault.VolumeFormatNotAllowed:              exitUsage,
	fault.VolumeBusNotAllowed:                 exitUsage,
	fault.VolumeCloningAlgNotAllowed:          exitUsage,
	fault.UnsupportedFormat:                   exitUsage,
	fault.VolumeImpossibleCreatorIDMetaUpdate: exitNotAllowed, // an update by somebody who is not the owner
}

// exitOfStatus is for codes that this version does not know, and answers of a proxy.
func exitOfStatus(status int) int {
	switch status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return exitConflict
	case http.StatusInsufficientStorage:
		return exitNoSpace
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitUnavailable
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitNotAllowed
	}
	return exitFailure
}

// describe says what went wrong, and what to do next, if there is something to say.
func describe(err error, cmd *cobra.Command) (text, next string) {
	text = strings.TrimSpace(err.Error())
	if e, ok := errors.AsType[*client.UnfinishedError](err); ok {
		return unfinished(e)
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return text, fmt.Sprintf("See `%s --help`.", cmd.CommandPath())
	}
	if errors.Is(err, context.Canceled) {
		if e, ok := errors.AsType[*resumableError](err); ok {
			return "interrupted", e.next
		}
		return "interrupted", ""
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		if e, ok := errors.AsType[*resumableError](err); ok {
			return text, e.next
		}
		return text, "Is `elstore serve` running there? Name another server with --server or ELSTORE_SERVER."
	}
	if e, ok := errors.AsType[*notFoundError](err); ok {
		return text, whereToLook[e.what]
	}
	if next = nextStep[fault.CodeOf(err)]; next != "" {
		return text, next
	}
	// Of what the caller did wrong the log has no more than the sentence.
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status >= http.StatusInternalServerError && e.RequestID != "" && !strings.Contains(text, e.RequestID) {
		return text, "The server's log says more under request id " + e.RequestID + "."
	}
	return text, ""
}

// unfinished says what becomes of a job that nobody waits for any more.
func unfinished(e *client.UnfinishedError) (text, next string) {
	why := "interrupted"
	if !errors.Is(e, context.Canceled) {
		why = strings.TrimSpace(e.Err.Error())
	}
	return why, fmt.Sprintf("Job %s goes on in the server. Follow it with `elstore job wait %s`, or cancel it with `elstore job cancel %s`.",
		e.Job.ID, e.Job.ID, e.Job.ID)
}

var whereToLook = map[string]string{
	"volume":            "`elstore volume list` shows those that you may see, `elstore trash list` what was destroyed.",
	"volume in the bin": "`elstore trash list` shows what can be restored.",
	"pool":              "`elstore pool list` shows the pools.",
	"job":               "`elstore job list` shows the jobs that the server remembers.",
}

const (
	sayWho     = "Say who you are with --client or ELSTORE_CLIENT; `elstore volume info` shows the owner, `elstore help access` what a token may do."
	makeRoom   = "`elstore pool list` shows how full the pools are; `elstore trash empty` frees what lies in their bins."
	checkPools = "`elstore pool list` shows the pools and what is wrong with them."
)

// nextStep says what can be done about a code. Most sentences of the server say it themselves.
var nextStep = map[fault.Code]string{
	fault.VolumeNotFound:                      whereToLook["volume"],
	fault.PoolNotFound:                        whereToLook["pool"],
	fault.JobNotFound:                         whereToLook["job"],
	fault.VolumeAlreadyLocked:                 "`elstore job list` shows what runs; try again when it is done.",
	fault.NotAllowed:                          sayWho,
	fault.VolumeImpossibleCreatorIDMetaUpdate: sayWho,
	fault.VolumeNotAllocable:                  makeRoom,
	fault.PoolFull:                            makeRoom,
	fault.VolumeAvailablePathNotFound:         checkPools,
	fault.PoolUnavailable:                     checkPools,
	fault.VolumeDimensionNotShrinkable:        "To cut off what lies beyond the new size, add --shrink.",
	fault.Unauthorized:                        "The server asks who you are: `elstore help access` says how to tell it.",
	fault.VolumeInTrash:                       "`elstore volume restore` brings it back.",
}

package scsi

import (
	"context"
	"log/slog"
)

// Sanitizing is offered only of a Device that can keep its promise, and only as a block erase: what an
// overwrite promises, in place and so many times, an image file in a file system can't.

// blockErase is the BLOCK ERASE service action of SANITIZE, SBC-3 section 5.22.
func blockErase(ctx context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if a := checkSanitize(c); a.status != StatusGood {
		return a
	}
	if !lu.beginErasing() {
		return check(NotReady, SanitizeInProgress)
	}
	ctx = context.WithoutCancel(ctx) // nothing but power stops a sanitize operation, SBC-3 section 4.11.2
	if c.CDB[1]&0x80 != 0 {          // IMMED
		lu.erasing.Go(func() { lu.erase(ctx) })
		return good
	}
	return lu.erase(ctx)
}

// checkSanitize checks the fields that all service actions have.
func checkSanitize(c *Command) answer {
	if c.CDB[1]&0x40 != 0 {
		return badField(1, 6)
	}
	for at := 2; at <= 8; at++ { // reserved, and the parameter list length
		if c.CDB[at] != 0 {
			return badField(at, wholeByte)
		}
	}
	return good
}

func (lu *LogicalUnit) beginErasing() bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.is(stateSanitizing) {
		return false
	}
	lu.set(stateSanitizing, true)
	lu.set(stateSanitizeFailed, false)
	return true
}

// erase erases once every write that runs has ended; those that come are refused.
func (lu *LogicalUnit) erase(ctx context.Context) answer {
	const everything = 1<<regionLocks - 1
	lu.regions.own(everything)
	defer lu.regions.disown(everything)
	err := lu.device.(Eraser).Erase(ctx) // find offers this for no other Device
	if err != nil {
		lu.cfg.Log.Error("sanitize failed", slog.Any("error", err))
		lu.set(stateSanitizeFailed, true)
	}
	lu.set(stateSanitizing, false)
	if err != nil {
		return lu.sanitizeAnswer()
	}
	return good
}

// sanitizeAnswer is what other commands get during a sanitize operation and after one that failed.
func (lu *LogicalUnit) sanitizeAnswer() answer {
	if lu.is(stateSanitizing) {
		return check(NotReady, SanitizeInProgress)
	}
	return check(MediumError, SanitizeFailed)
}

// exitFailureMode is the EXIT FAILURE MODE service action of SANITIZE.
func exitFailureMode(_ context.Context, lu *LogicalUnit, _ *Nexus, c *Command) answer {
	if a := checkSanitize(c); a.status != StatusGood {
		return a
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if lu.is(stateSanitizing) {
		return check(NotReady, SanitizeInProgress)
	}
	lu.set(stateSanitizeFailed, false)
	return good
}

package iscsi

import "context"

// Gate decides, command by command, whether an attachment may change the medium at this moment. What it refuses is
// answered as write-protected. It is called from many goroutines at once.
type Gate interface {
	// Enter is called before a command of which scsi.Plan says that it Changes something. It may wait; the command is
	// refused where it returns false, and ctx ends where the command is aborted.
	Enter(ctx context.Context) bool
	// Try is Enter that doesn't wait: false says that Enter might have to.
	Try() bool
	// Leave is called when a command that was let in has run.
	Leave()
}

package v1

import (
	"context"
	"slices"

	"elstore/api/access"
	"elstore/livemigration"
	"elstore/volume"
	"elstore/volume/fault"
)

// everybodys refuses callers that don't act for everybody.
func everybodys(ctx context.Context) error {
	if access.CallerOf(ctx).Who() == nil {
		return nil
	}
	return fault.Errorf(fault.NotAllowed, "this shows what is everybody's; allowed is orchestrator or operator")
}

// sees reports whether a caller that is one client may be told of an event: of volumes that it may see, and of its own
// jobs, exports and migrations. A nil who may be told of all.
func (a *API) sees(who volume.Who, e *volume.Event) bool {
	switch {
	case who == nil:
		return true
	case e.Migration != nil:
		_, err := a.cfg.Migrations.Get(livemigration.Ref{ID: e.Migration.ID, By: who})
		return err == nil
	case e.Export != nil:
		return e.Export.Client == *who
	case e.Job != nil:
		return e.Owner != nil && *e.Owner == *who
	}
	return e.Owner == nil || *e.Owner == *who
}

// mayNotSee is VolumeNotFound for the first of the volumes that a caller who is one client may not see, where else the answer
// would tell that it is there.
func (a *API) mayNotSee(ctx context.Context, ids ...volume.ID) error {
	who := access.CallerOf(ctx).Who()
	if who == nil {
		return nil
	}
	for _, id := range ids {
		if _, err := a.cfg.Volumes.Get(ctx, id, who); fault.Is(err, fault.VolumeNotFound) {
			return err
		}
	}
	return nil
}

// texts writes ids for the audit log.
func texts(ids ...volume.ID) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if s := id.String(); !id.IsZero() && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

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
	if c := access.CallerOf(ctx); c.Who() == nil && !c.Limited() {
		return nil
	}
	return fault.Errorf(fault.NotAllowed, "this shows what is everybody's; allowed is orchestrator or operator")
}

// sees reports whether a caller may be told of an event: one that is one client of volumes that it may see, and of its own
// jobs, exports and migrations.
func (a *API) sees(c *access.Caller, e *volume.Event) bool {
	who := c.Who()
	switch {
	case e.Pool != "" && !c.Uses(e.Pool):
		return false
	case e.Volume != nil && !a.usesAll(c, []volume.ID{*e.Volume}), e.Migration != nil && !a.usesAll(c, e.Migration.Volumes):
		return false
	case who == nil && e.Job != nil && c.Limited():
		job, ok := e.Job.(volume.Job)
		return ok && a.usesAll(c, job.Volumes)
	case who == nil:
		return true
	case e.Migration != nil:
		_, err := a.cfg.Migrations.Get(livemigration.Ref{ID: e.Migration.ID, By: who})
		return err == nil
	case e.Export != nil:
		return e.Export.Client == *who || e.Export.Owner == *who
	case e.Job != nil:
		return e.Owner != nil && *e.Owner == *who
	}
	return e.Owner == nil || *e.Owner == *who
}

// mayNotSee is VolumeNotFound for the first of the volumes that a caller who is one client may not see, where else the answer
// would tell that it is there.
func (a *API) mayNotSee(ctx context.Context, ids ...volume.ID) error {
	c := access.CallerOf(ctx)
	who := c.Who()
	if who == nil && !c.Limited() {
		return nil
	}
	for _, id := range ids {
		if _, err := a.cfg.Volumes.Get(ctx, id, who); fault.Is(err, fault.VolumeNotFound) {
			return err
		}
	}
	return nil
}

// hides reports whether the caller may not see a volume.
func (a *API) hides(ctx context.Context, id volume.ID) bool { return a.mayNotSee(ctx, id) != nil }

// owns reports whether a volume is there and is who's. Nobody in particular owns none.
func (a *API) owns(ctx context.Context, id volume.ID, who volume.Who) bool {
	if who == nil {
		return false
	}
	v, err := a.cfg.Volumes.Get(ctx, id, who)
	return err == nil && v.Meta.Creator == *who
}

// usesAll reports whether none of the volumes lies in a pool that the caller doesn't use.
func (a *API) usesAll(c *access.Caller, ids []volume.ID) bool {
	return !c.Limited() || !slices.ContainsFunc(ids, func(id volume.ID) bool {
		pool, there := a.cfg.Volumes.PoolOf(id)
		return there && !c.Uses(pool)
	})
}

// used returns, of the volumes that a call names, those that its job is said to be about. For a token for some pools that is what lies
// in them: a job about another pool's volume would be hidden from it, and one about none would not.
func (a *API) used(ctx context.Context, ids []volume.ID) []volume.ID {
	c := access.CallerOf(ctx)
	if !c.Limited() {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id volume.ID) bool {
		return !a.cfg.Volumes.Knows(ctx, id, c.Who())
	})
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

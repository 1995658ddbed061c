package v1

import (
	"context"
	"net/http"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
)

func (a *API) destroy(_ context.Context, req struct {
	volumeRequest
	Purge bool `json:"purge"`
},
) (work, error) {
	return work{kind: "destroy", owner: req.Who, volumes: []volume.ID{req.ID}, run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		return map[string]any{"vid": req.ID}, a.cfg.Volumes.Destroy(ctx, req.ID, req.Who, req.Purge)
	}}, nil
}

func (a *API) trash(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeAny[asker](r)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, records(a.cfg.Volumes.Trashed(r.Context(), req.Who)))
}

func (a *API) restore(_ context.Context, req volumeRequest) (work, error) {
	return work{kind: "restore", owner: req.Who, volumes: []volume.ID{req.ID}, run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		v, err := a.cfg.Volumes.Restore(ctx, req.ID, req.Who)
		if err != nil {
			return nil, err
		}
		return recordOf(&v).and("vid", v.ID), nil
	}}, nil
}

func (a *API) emptyTrash(ctx context.Context, req struct {
	asker
	Pool string `json:"pool"` // "" is all
},
) (work, error) {
	caller := access.CallerOf(ctx)
	return work{kind: "empty", owner: req.Who, run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		if req.Pool != "" && (!a.isPool(req.Pool) || !caller.Uses(req.Pool)) {
			return nil, noPool(req.Pool)
		}
		purged, err := a.cfg.Volumes.EmptyTrash(ctx, req.Pool, req.Who)
		return map[string]int{"purged": purged}, err
	}}, nil
}

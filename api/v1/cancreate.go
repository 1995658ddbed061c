package v1

import (
	"context"
	"net/http"

	"elstore/api/rest"
	"elstore/volume"
)

// canCreateRequest is create's with only a size required.
type canCreateRequest struct {
	Size volume.Gigabytes `json:"size" required:"true"`
	Name *string          `json:"name"`
	attributes
}

func (r *canCreateRequest) volume() (volume.NewVolume, error) {
	n := r.describe()
	n.Meta.Size = r.Size.Bytes
	n.Meta.Name = or(r.Name, "any")
	return n, n.Check()
}

func (a *API) canCreate(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeAny[canCreateRequest](r)
	if err != nil {
		return err
	}
	n, err := req.volume()
	if err != nil {
		return err
	}
	count, err := a.cfg.Volumes.CanCreate(r.Context(), n)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, count)
}

func (a *API) canCreateMany(w http.ResponseWriter, r *http.Request) error {
	reqs, err := rest.Decode[[]canCreateRequest](r)
	if err != nil {
		return err
	}
	fit, err := a.fit(r.Context(), reqs)
	if err != nil {
		return err
	}
	count := 0
	if fit {
		count = 1
	}
	return rest.Reply(w, http.StatusOK, count)
}

func (a *API) fit(ctx context.Context, reqs []canCreateRequest) (bool, error) {
	list := make([]volume.NewVolume, len(reqs))
	for i := range reqs {
		var err error
		if list[i], err = reqs[i].volume(); err != nil {
			return false, rest.AtIndex(i, err)
		}
	}
	return a.cfg.Volumes.CanCreateAll(ctx, list)
}
